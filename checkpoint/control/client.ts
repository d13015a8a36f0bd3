import { Buffer } from "node:buffer";
import { connect, type Socket } from "node:net";
import { type Answer, answersOf } from "./answers.ts";
import { ControlError } from "./control_error.ts";
import type { Inspected } from "./inspect.ts";
import type { ControlRequest } from "./request.ts";
import type { ConnectionRow } from "./rows.ts";
import type { HostStatus } from "./status.ts";

/**
 * Asks a running host through the control socket that it offers. One question at a time.
 *
 * @example
 * ```ts
 * import { ControlClient } from "@torpor/torpor/checkpoint/control/client.ts";
 * using client = await ControlClient.connect("./connections/control");
 * console.log((await client.status()).connections); // { awake: 12, asleep: 90123, waking: 0 }
 * ```
 */
export class ControlClient implements Disposable {
  readonly #socket: Socket;
  readonly #answers: AsyncGenerator<Answer>;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#answers = answersOf(socket as AsyncIterable<Buffer>);
  }

  /** Opens a client. @throws {ControlError} `nobody` when no process offers control there, `failed` when it cannot be reached. */
  static connect(path: string): Promise<ControlClient> {
    return new Promise((resolve, reject) => {
      const socket = connect({ path });
      socket.once("connect", () => resolve(new ControlClient(socket)));
      socket.once("error", (cause) => {
        const { code } = cause as { code?: string };
        const nobody = code === "ENOENT" || code === "ECONNREFUSED" || code === "ENOTDIR";
        const why = nobody ? "no process offers it there" : cause.message;
        reject(
          new ControlError(nobody ? "nobody" : "failed", `Cannot use the control socket "${path}": ${why}`, {
            cause,
          }),
        );
      });
    });
  }

  /** Counters, memory, interfaces, drops and the firewall at this moment. */
  async status(): Promise<HostStatus> {
    return (await this.#ask({ do: "status" }))["status"] as HostStatus;
  }

  /** The connections, awake and asleep, in no order. */
  async *ls(which: Omit<Extract<ControlRequest, { do: "ls" }>, "do"> = {}): AsyncGenerator<ConnectionRow> {
    this.#say({ do: "ls", ...which });
    for (;;) {
      const answer = await this.#next();
      if (answer["rows"] === undefined) return;
      yield* answer["rows"] as ConnectionRow[];
    }
  }

  /** All that is known of a connection. @throws {ControlError} `refused`, when there is no such connection. */
  async inspect(id: string): Promise<Inspected> {
    return (await this.#ask({ do: "inspect", id }))["connection"] as Inspected;
  }

  /**
   * Puts a connection to sleep, or all of them; resolves when it is durable.
   * @throws {ControlError} `refused`, when it sleeps already or was spoken to meanwhile.
   */
  async suspend(id?: string): Promise<{ suspended: number; imageBytes?: number }> {
    const answer = await this.#ask(id === undefined ? { do: "suspend" } : { do: "suspend", id });
    return answer as unknown as { suspended: number; imageBytes?: number };
  }

  /** Wakes a connection. @throws {ControlError} `refused`, when it is awake. */
  async restore(id: string): Promise<{ tookMs?: number }> {
    return await this.#ask({ do: "restore", id });
  }

  /** A capture of the host's packets, piece by piece, until the loop is left or the host ends. Then the client is used up. */
  async *capture(
    which: Omit<Extract<ControlRequest, { do: "capture" }>, "do"> = {},
  ): AsyncGenerator<Uint8Array> {
    this.#say({ do: "capture", ...which });
    try {
      for (;;) {
        const answer = await this.#next();
        if (answer["pcapng"] === undefined) return;
        yield Uint8Array.from(Buffer.from(answer["pcapng"] as string, "base64"));
      }
    } finally {
      this.close();
    }
  }

  /** Asks something that the program answers beside its host: `{ do: "patch", ... }`. */
  async ask(
    request: Readonly<Record<string, unknown>> & { readonly do: string },
  ): Promise<Record<string, unknown>> {
    return await this.#ask(request as unknown as ControlRequest);
  }

  /** Ends the connection to the socket; the host goes on. */
  close(): void {
    this.#socket.destroy();
  }

  /** As `close()`. */
  [Symbol.dispose](): void {
    this.close();
  }

  async #ask(request: ControlRequest): Promise<Answer> {
    this.#say(request);
    return await this.#next();
  }

  #say(request: ControlRequest): void {
    this.#socket.write(`${JSON.stringify(request)}\n`);
  }

  async #next(): Promise<Answer> {
    const { value, done } = await this.#answers.next();
    if (done) throw new ControlError("gone", "The host has ended, or closed its control socket");
    if (typeof value["error"] === "string") throw new ControlError("refused", value["error"]);
    return value;
  }
}
