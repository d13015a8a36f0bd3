import { chmodSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import type { Allowed, ProgramRules } from "./program_rules.ts";

/** Bytes of one question: Deno's are a few hundred, and a path may be long. */
const LINE_BYTES_MAX = 65_536;
/** Programs at a time. */
const PROGRAMS_MAX = 64;
const VERSION = 1;

/** A question of Deno's permission broker protocol (experimental in Deno 2.9): a line of JSON. */
interface Question {
  readonly id: number;
  readonly pid: number;
  readonly permission: string;
  readonly value: string | null;
}

/** A question out of its line. @throws {TypeError} When it is none of this version. */
export function readQuestion(line: string): Question {
  let read: unknown;
  try {
    read = JSON.parse(line);
  } catch (cause) {
    throw new TypeError("Cannot read a question of Deno's: it is no JSON", { cause });
  }
  const { v, id, pid, permission, value = null } = (read ?? {}) as Readonly<Record<string, unknown>>;
  if (
    v === VERSION && typeof id === "number" && typeof pid === "number" && typeof permission === "string" &&
    (value === null || typeof value === "string")
  ) return { id, pid, permission, value };
  throw new TypeError(`Cannot read a question of Deno's: it is not of version ${VERSION} of the protocol`);
}

/** A decision, for those who log. */
export interface Decision extends Allowed {
  readonly pid: number;
  readonly permission: string;
  readonly value: string | null;
}

/** Kinds of permission that are not about the network, as `--allow` names them: everything of the kind, or some values. */
export type Grants = ReadonlyMap<string, ReadonlySet<string> | "all">;

/**
 * Answers what Deno asks before it lets a program do something: `net` by rules, all else by `grants`. A program whose
 * question is not understood is cut off, which ends it: Deno does not go on without its broker.
 */
export class PermissionBroker {
  readonly #server: Server;
  readonly #sockets: Set<Socket> = new Set();
  readonly #rules: ProgramRules;
  readonly #grants: Grants;
  readonly #told: (decision: Decision) => void;

  constructor(rules: ProgramRules, grants: Grants, told: (decision: Decision) => void) {
    this.#rules = rules;
    this.#grants = grants;
    this.#told = told;
    this.#server = createServer((socket) => this.#serve(socket));
    this.#server.maxConnections = PROGRAMS_MAX;
  }

  /** Listens on a unix socket that only our own user can open. */
  async listen(path: string): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(path, resolve);
    });
    chmodSync(path, 0o600);
  }

  async close(path: string): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
    rmSync(path, { force: true });
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.setEncoding("utf8");
    let waiting = "";
    let answered: Promise<void> = Promise.resolve(); // in the order of the questions
    socket.on("data", (text: string) => {
      waiting += text;
      const lines = waiting.split("\n");
      waiting = lines.pop()!;
      for (const line of lines) {
        answered = answered.then(() => this.#answer(line, socket)).catch(() => void socket.destroy());
      }
      if (waiting.length > LINE_BYTES_MAX) socket.destroy();
    });
    socket.on("error", () => {});
    socket.on("close", () => this.#sockets.delete(socket));
  }

  async #answer(line: string, socket: Socket): Promise<void> {
    if (line.trim() === "") return;
    const { id, pid, permission, value } = readQuestion(line);
    const decided = await this.#decide(permission, value);
    this.#told({ pid, permission, value, ...decided });
    const { allowed, reason } = decided;
    socket.write(
      `${
        JSON.stringify(
          allowed
            ? { id, result: "allow" }
            : { id, result: "deny", reason: refusal(permission, value, reason) },
        )
      }\n`,
    );
  }

  async #decide(permission: string, value: string | null): Promise<Allowed> {
    const unix = value?.startsWith("unix:") ? value.slice(5) : undefined;
    if (permission === "net" && unix === undefined) {
      return value === null
        ? { allowed: false, reason: "not everything: the rules decide for each host and port" }
        : await this.#rules.ask(value);
    }
    const kind = unix === undefined ? permission : "unix";
    const granted = this.#grants.get(kind) ?? this.#grants.get("all");
    const of = unix ?? value;
    if (granted === "all" || (of !== null && granted?.has(of))) {
      return { allowed: true, reason: `--allow ${kind}` };
    }
    return { allowed: false, reason: `the broker was not started with --allow ${kind}` };
  }
}

/** What the program's error says, in Deno's own manner: what it asked for, and what refused it. */
function refusal(permission: string, value: string | null, reason: string): string {
  return `${permission} access to ${value === null ? "everything" : `"${value}"`} is refused: ${reason}`;
}
