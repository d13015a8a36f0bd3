import { parseOptions } from "./options.ts";
import { parsePacket } from "./parse_packet.ts";
import { parseSyscall } from "./parse_syscall.ts";
import { chooseBranches, stripComments, substitute } from "./preprocess.ts";
import { profileDefines } from "./profile.ts";
import { Scanner } from "./scanner.ts";
import type { Action, EventTime, IpVersion, Script, ScriptEvent } from "./script.ts";

const TIME = /\d+\.\d+|\.\d+|\d+(?:\.(?!\.))?/;

/**
 * Reads a script. `flags` are options of the command line, which the script's own override.
 *
 * @throws {ScriptSyntaxError} With the line, when it cannot be read.
 * @throws {Unsupported} With the line, when it is a script that this runner does not know how to run.
 */
export function parseScript(
  path: string,
  text: string,
  flags: readonly string[] = [],
  ip: IpVersion = "ipv4",
): Script {
  const plain = stripComments(chooseBranches(text, new Set(["STANDARD"])));
  const head = new Scanner(plain);
  const options = parseOptions(head, flags, ip);
  const defines = new Map([...profileDefines(ip), ...options.defines]);
  const scanner = new Scanner(substitute(plain.slice(head.at), defines), head.line());
  const events: ScriptEvent[] = [];
  if (scanner.sees(/`/)) {
    const line = scanner.line();
    events.push({ line, time: { kind: "absolute", us: 0 }, action: parseCommand(scanner) });
  }
  while (!scanner.done) {
    if (scanner.sees(/`/)) { // the clean-up command: nothing is left to clean up
      parseCommand(scanner);
      if (!scanner.done) scanner.fail("only one command may follow the last event");
      break;
    }
    events.push(parseEvent(scanner));
  }
  return { path, options, events };
}

function parseEvent(scanner: Scanner): ScriptEvent {
  scanner.skip();
  const line = scanner.line();
  const time = parseTime(scanner);
  const action = parseAction(scanner);
  const outbound = action.kind === "packet" && !action.inbound;
  if (!outbound && time.kind !== "absolute" && time.kind !== "relative") {
    scanner.fail("only an outbound packet may have a range or a star for its time");
  }
  return { line, time, action };
}

function parseTime(scanner: Scanner): EventTime {
  if (scanner.take(/\*/) !== undefined) return { kind: "any" };
  const relative = scanner.take(/\+/) !== undefined;
  const us = seconds(scanner.need(TIME, "a time")[0]);
  if (scanner.take(/~/) === undefined) return { kind: relative ? "relative" : "absolute", us };
  scanner.take(/\+/);
  const endUs = seconds(scanner.need(TIME, "the end of a time range")[0]);
  if (endUs < us) scanner.fail("time range is backwards");
  return { kind: relative ? "relativeRange" : "absoluteRange", us, endUs };
}

function seconds(text: string): number {
  return Math.round(Number(text) * 1e6);
}

function parseAction(scanner: Scanner): Action {
  if (scanner.sees(/[<>]/)) return parsePacket(scanner);
  if (scanner.sees(/`/)) return parseCommand(scanner);
  const code = scanner.take(/%\{([\s\S]*?)\}%/);
  if (code !== undefined) return { kind: "code", text: code[1]! };
  const ends = scanner.take(/\.\.\./) !== undefined;
  const endUs = ends ? seconds(scanner.need(TIME, "the time of return")[0]) : undefined;
  return parseSyscall(scanner, endUs);
}

function parseCommand(scanner: Scanner): Action {
  return { kind: "command", text: scanner.need(/`([^`]*)`/, "a command in backticks")[1]! };
}
