// @ts-nocheck: this is a patch source, written against the private names of rooms.ts

export class Chat {
  // All words are repeated, a room's lines have numbers, and it remembers the last one.
  #say(room: Room, words: readonly string[]): string {
    room.lines++;
    const before = room.last;
    room.last = words.join(" ");
    return `${room.name} #${room.lines}: ${room.last}${before === room.last ? again() : ""}`;
  }
}

function again(): string {
  return " (again)";
}

// Rooms that are there get the new field, and lose it with the patch.
export function onPatchApply(): void {
  for (const room of rooms.values()) room.last = "";
}

export function onPatchCheck(): boolean {
  return [...rooms.values()].every((room) => room.last !== undefined);
}

export function onPatchRollback(): void {
  for (const room of rooms.values()) delete room.last;
}
