/** The rooms of a chat. What they hold is nobody else's, and stays when this code is patched. */
interface Room {
  readonly name: string;
  lines: number;
}

const rooms = new Map<string, Room>();

function roomOf(name: string): Room {
  let room = rooms.get(name);
  if (room === undefined) rooms.set(name, room = { name, lines: 0 });
  return room;
}

/** What is said, and what is answered. */
export class Chat {
  #spoken = 0;

  /** Answers a line: the name of a room, and what is said there. */
  hear(line: string): string {
    const [name = "", ...words] = line.split(" ");
    this.#spoken++;
    return this.#say(roomOf(name), words);
  }

  /** How many lines were heard. */
  get spoken(): number {
    return this.#spoken;
  }

  // The bug: whoever says more than three words is cut short.
  #say(room: Room, words: readonly string[]): string {
    room.lines++;
    return `${room.name}: ${words.slice(0, 3).join(" ")}`;
  }
}
