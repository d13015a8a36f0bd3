import type { TcpCounters } from "../../net/tcp/netstat.ts";
import { Unsupported } from "./script.ts";

/** A command that a script runs and that ends badly: what it looks for is not there. */
export class CommandFailed extends Error {
  override name = "CommandFailed";
}

/** What the tools of a script look at, and what they leave behind. */
export interface Machine {
  readonly counters: TcpCounters;
  /** Whether somebody listens on a port. */
  listens(port: number): boolean;
  /** Counters as nstat saw them last, by Linux's names. */
  readonly counted: Map<string, number>;
  /** Files of zeros, by path: their lengths. */
  readonly files: Map<string, number>;
}

/**
 * Acts like a tool that looks at the machine, if the line calls one that is known.
 *
 * @returns Whether it does.
 * @throws {CommandFailed} When the tool would say no.
 */
export function runTool(line: string, machine: Machine): boolean {
  const removed = /^(?:\/bin\/)?rm -f (\S+)$/.exec(line);
  if (removed !== null) return machine.files.delete(removed[1]!) || true;
  const written = /^(?:\/bin\/)?dd bs=(\d+) count=(\d+) if=\/dev\/zero of=(\S+)(?: status=none)?$/.exec(line);
  if (written !== null) {
    machine.files.set(written[3]!, Number(written[1]) * Number(written[2]));
    return true;
  }
  const listening = /^grep " 0A " (?:\/proc\/net\/tcp6? )+\| grep ":([0-9A-F]{4})"$/.exec(line);
  if (listening !== null) {
    if (!machine.listens(parseInt(listening[1]!, 16))) throw new CommandFailed(`${line}: nobody listens`);
    return true;
  }
  const counters = /^nstat((?: -\w+)*)((?: *\|.*)?)$/.exec(line.replace(/ *>+ *\/dev\/null/, ""));
  if (counters === null) return false;
  nstat(counters[1]!, counters[2]!, machine);
  return true;
}

/** nstat shows how much counters have grown since it was called last, those that have not left out. */
function nstat(options: string, filter: string, machine: Machine): void {
  const looksOnly = / -\w*s/.test(options);
  if (/-\w*[^sn\W]/.test(options)) throw new Unsupported(`nstat${options}`);
  const [, name, , times] = /^ *\| *grep (\w+)( *\| *grep -q " (\d+) ")?$/.exec(filter) ?? [];
  if (filter !== "" && name === undefined) throw new Unsupported(`nstat ${filter}`);
  const now = namedCounters(machine.counters);
  if (name !== undefined) {
    const key = plainName(name);
    if (!now.has(key)) throw new Unsupported(`counter ${name}`);
    const grown = now.get(key)! - (machine.counted.get(key) ?? 0);
    if (times === undefined ? grown === 0 : grown !== Number(times)) {
      throw new CommandFailed(`${name} has grown by ${grown}, not by ${times ?? "any"}`);
    }
  }
  if (looksOnly) return;
  for (const [key, value] of now) machine.counted.set(key, value);
}

function namedCounters(counters: TcpCounters): Map<string, number> {
  return new Map(Object.entries(counters).map(([name, value]) => [name.toLowerCase(), value as number]));
}

/** `TcpExtTCPChallengeACK` is our `challengeAck`. */
function plainName(name: string): string {
  return name.replace(/^TcpExt(TCP)?/, "").toLowerCase();
}
