import type { Socket } from "node:net";

/** The longest line: what a process says of itself, or why it refuses. */
const LINE_MAX = 4_096;

/** Lines over a socket, asked for one after the other. */
export class LineSocket {
  readonly #socket: Socket;
  #text = "";
  #ended: Error | undefined;
  #waiting: { resolve: (line: string | undefined) => void; reject: (error: unknown) => void } | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding("utf8");
    socket.on("data", (text: string) => {
      this.#text += text;
      if (this.#text.length > LINE_MAX) socket.destroy(new Error("a line that is too long"));
      this.#serve();
    });
    socket.on("error", (error) => this.#end(error));
    socket.on("close", () => this.#end(new Error("the connection has ended")));
  }

  say(line: string): void {
    if (this.#ended === undefined) this.#socket.write(`${line}\n`);
  }

  /** The next line; `undefined` when the far end has gone away instead. */
  next(): Promise<string | undefined> {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#serve();
    });
  }

  /** Ends it; what was said before still arrives. */
  close(): void {
    this.#socket.end();
  }

  /** Ends it at once. */
  destroy(): void {
    this.#socket.destroy();
  }

  #end(error: Error): void {
    this.#ended ??= error;
    this.#serve();
  }

  #serve(): void {
    const end = this.#text.indexOf("\n");
    if (this.#waiting === undefined || (end < 0 && this.#ended === undefined)) return;
    const { resolve } = this.#waiting;
    this.#waiting = undefined;
    if (end < 0) return resolve(undefined);
    const line = this.#text.slice(0, end);
    this.#text = this.#text.slice(end + 1);
    resolve(line);
  }
}
