import type { TcpConfig } from "../../net/tcp/config.ts";
import { linuxTcpInfo, tcpInfo } from "../../net/tcp/info.ts";
import { TcpFlag } from "../../net/wire/tcp.ts";
import { compareFragments, compareSegment } from "./compare.ts";
import { WireConnection } from "./connection.ts";
import { numberOf } from "./constants.ts";
import { AssertionFailed, runCode, type Variables } from "./evaluate.ts";
import { ScriptFailure } from "./failure.ts";
import { writeIcmpError } from "./icmp.ts";
import { showSeconds, showSegment } from "./print.ts";
import { LINUX_PROFILE } from "./profile.ts";
import {
  type IcmpAction,
  type IpVersion,
  type PacketAction,
  type Script,
  type ScriptEvent,
  type SyscallAction,
  Unsupported,
} from "./script.ts";
import { readSegment, type Segment, writeSegment } from "./segment.ts";
import { Sockets } from "./sockets.ts";
import { type Blocked, type Call, type Returned, SERVICE_PORT, SYSCALLS } from "./syscalls.ts";
import { applyCommand } from "./sysctl.ts";
import { tcpInfoNames } from "./tcp_info.ts";
import { Timetable } from "./timetable.ts";
import { CommandFailed } from "./tools.ts";
import { World } from "./world.ts";

export interface RunOptions {
  /** Packets that leave and that the script does not expect are an error, behind its last expectation too. */
  readonly strict: boolean;
  /** The connection sleeps whenever it is quiet. */
  readonly sleep: boolean;
  /** Mapped addresses are IPv4 on the wire, and only the wire is judged. */
  readonly ip: IpVersion;
  /** Told about every packet, in the script's numbers. */
  readonly log?: (line: string) => void;
}

/** Ports of the remote side, one for each connection that it opens. */
const REMOTE_PORT_FIRST = 49_152;
/** How much later than wanted a packet may be until nobody waits for it any more. */
const PATIENCE_US = 2_000_000;
/** The same for a packet that may come at any time. */
const ANY_TIME_PATIENCE_US = 600_000_000;

interface Waiting {
  readonly event: ScriptEvent;
  readonly blocked: Blocked;
  readonly endUs: number;
  readonly lastUs: number;
}

/**
 * Runs one script against a stack of its own.
 *
 * @throws {ScriptFailure} Where stack and script differ.
 * @throws {Unsupported} At what this runner, or the stack, does not have.
 */
export function runScript(script: Script, options: RunOptions): { sleeps: number } {
  return new Runner(script, options).run();
}

class Runner {
  readonly #script: Script;
  readonly #options: RunOptions;
  readonly #world: World;
  readonly #sockets = new Sockets();
  readonly #timetable: Timetable;
  /** The connection under test; `undefined` while there is only a listener, or nothing. */
  #connection: WireConnection | undefined;
  #remotePort = REMOTE_PORT_FIRST;
  #waiting: Waiting | undefined;
  readonly #variables: Variables = {};

  constructor(script: Script, options: RunOptions) {
    this.#script = script;
    this.#options = options;
    this.#world = new World({
      mtu: script.options.mtu,
      tcp: LINUX_PROFILE,
      sleep: options.sleep,
      ipv6: options.ip === "ipv6",
      hosts: script.options,
      upcalls: this.#sockets,
      settle: (nowUs) => this.#sockets.settle(nowUs),
    });
    this.#sockets.lastInfo = (tcb) => linuxTcpInfo(tcpInfo(this.#world.stack.tcp, tcb, this.#world.nowMs));
    this.#timetable = new Timetable(script.options);
    const { config } = this.#world.stack.tcp;
    for (const setting of script.options.settings) {
      applyCommand(`sysctl -q ${setting}`, config as TcpConfig, this.#world);
    }
  }

  run(): { sleeps: number } {
    let last: ScriptEvent | undefined;
    for (const event of this.#script.events) {
      this.#timetable.begin(event, last, this.#world.us);
      try {
        this.#runEvent(event);
      } catch (error) {
        throw located(error, event.line);
      }
      last = event;
    }
    this.#awaitCall();
    if (this.#options.strict && last !== undefined) this.#refuseExtra(last);
    return { sleeps: this.#world.keeper?.sleeps ?? 0 };
  }

  #runEvent(event: ScriptEvent): void {
    const { action } = event;
    if (action.kind === "packet" && !action.inbound) return this.#expectPacket(event, action);
    if (action.kind === "icmp" && !action.inbound) throw new Unsupported("outbound ICMP");
    if (action.kind === "syscall" || action.kind === "code") this.#awaitCall();
    this.#passUntil(this.#timetable.us);
    this.#timetable.check(event, this.#world.us, NAMES_OF_EVENTS[action.kind]!, event.line);
    if (action.kind === "packet") this.#inject(event, action);
    else if (action.kind === "icmp") this.#injectIcmp(event, action);
    else if (action.kind === "syscall") this.#call(event, action);
    else if (action.kind === "command") {
      this.#runCommand(event, action.text);
    } else this.#runCode(event, action.text);
  }

  // Time

  #passUntil(us: number): void {
    this.#world.advance(us, () => this.#retry());
  }

  /** Gives a waiting call its chance; never asks time to stop. */
  #retry(): false {
    const waiting = this.#waiting;
    if (waiting === undefined) return false;
    const result = waiting.blocked.retry();
    if (result === undefined) return false;
    this.#waiting = undefined;
    const action = waiting.event.action as SyscallAction;
    this.#checkResult(waiting.event.line, action, result);
    this.#timetable.checkAt(
      waiting.endUs,
      waiting.lastUs,
      this.#world.us,
      "system call return",
      waiting.event.line,
    );
    this.#world.turn();
    return false;
  }

  /** One call at a time: the next one waits for it to return. */
  #awaitCall(): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    const untilUs = Math.max(this.#world.us, waiting.endUs + PATIENCE_US);
    this.#world.advance(untilUs, () => {
      this.#retry();
      return this.#waiting === undefined;
    });
    if (this.#waiting !== undefined) {
      const { name } = waiting.event.action as SyscallAction;
      throw new ScriptFailure(waiting.event.line, `error in ${name} call: it has not returned`);
    }
  }

  // Packets in

  #inject(event: ScriptEvent, action: PacketAction): void {
    const connection = this.#inboundConnection(action);
    const syn = (action.flags & TcpFlag.SYN) !== 0;
    // Only the first one opens; what comes later is relative to it, whatever it says.
    if (syn && (action.flags & TcpFlag.ACK) !== 0 && !connection.remoteIsnKnown) {
      connection.learnRemoteIsn(action.sequence);
    }
    const segment = connection.toLive(action, this.#script.options.tsEcrScaled);
    if (typeof segment === "string") throw new ScriptFailure(event.line, `error handling packet: ${segment}`);
    const { addresses } = this.#world;
    this.#log("inbound injected", this.#world.us, segment);
    this.#world.receive(writeSegment(segment, addresses, action.badChecksum));
    this.#retry();
  }

  /** A first packet opens a connection; so does a SYN when the last connection is over. */
  #inboundConnection(action: PacketAction): WireConnection {
    const known = this.#connection;
    const opens = (action.flags & (TcpFlag.SYN | TcpFlag.ACK)) === TcpFlag.SYN;
    const { stack, local, remote } = this.#world;
    const over = known !== undefined && opens && stack.tcp.listeners.size > 0 &&
      stack.connections.find(local, remote, known.localPort, known.remotePort) < 0;
    if (known !== undefined && !over) {
      // A simultaneous open: the peer's number is not known before.
      if (opens && !known.remoteIsnKnown) known.learnRemoteIsn(action.sequence);
      return known;
    }
    this.#connection = new WireConnection(SERVICE_PORT, this.#remotePort++);
    // Only a listener learns a number that others are relative to: who is not listening is written to as it is.
    if (stack.tcp.listeners.size > 0) this.#connection.learnRemoteIsn(action.sequence);
    return this.#connection;
  }

  #injectIcmp(event: ScriptEvent, action: IcmpAction): void {
    if (this.#connection === undefined) throw noSocket(event.line);
    this.#world.receive(writeIcmpError(action, this.#connection, this.#world.addresses));
    this.#retry();
  }

  // Packets out

  #expectPacket(event: ScriptEvent, action: PacketAction): void {
    const script = `script packet: ${showSeconds(this.#timetable.us)} ${
      showSegment(expectedSegment(action))
    }`;
    const fail = (message: string, actual?: string): never => {
      throw new ScriptFailure(event.line, `error handling packet: ${message}\n${script}${actual ?? ""}`);
    };
    const connection = this.#connection;
    if (connection === undefined) throw noSocket(event.line);
    const first = this.#next(connection) ?? fail("Timed out waiting for packet");
    const bare = first.segment;
    if (!connection.localIsnKnown && (bare.flags & TcpFlag.SYN) !== 0) {
      connection.localIsnKnown = true;
      connection.localIsn = bare.sequence;
      connection.scriptLocalIsn = action.flags & TcpFlag.SYN ? action.sequence : 0;
    }
    let live = bare, actual = connection.toScript(bare), { atUs } = first;
    const describe = (): string => `\nactual packet: ${showSeconds(atUs)} ${showSegment(actual)}`;
    let collected = actual.payload.length;
    if (collected > 0 && collected < action.length && !this.#script.options.strictSegments) {
      const pieces = [actual];
      while (collected < action.length) {
        const next = this.#next(connection) ?? fail(
          `live packet payload: expected ${action.length} bytes vs actual ${collected} bytes`,
          describe(),
        );
        const piece = connection.toScript(next.segment);
        const isLast = piece.payload.length >= action.length - collected;
        const difference = compareFragments(pieces.at(-1)!, piece, isLast);
        if (difference !== undefined) {
          actual = piece;
          atUs = next.atUs;
          fail(difference, describe());
        }
        pieces.push(piece);
        collected += piece.payload.length;
        live = next.segment;
      }
      actual = merged(pieces);
      live = { ...live, sequence: bare.sequence };
    }
    const short = collected === action.length
      ? undefined
      : `live packet payload: expected ${action.length} bytes vs actual ${collected} bytes`;
    const difference = short ?? compareSegment(action, actual, connection, live, this.#script.options);
    if (difference !== undefined) fail(difference, describe());
    const late = this.#timetable.difference(event, atUs, "outbound packet");
    if (late !== undefined) fail(late, describe());
  }

  /** The next packet of the connection, however long it may take; `undefined` when none comes. */
  #next(connection: WireConnection): { segment: Segment; atUs: number } | undefined {
    const { sent } = this.#world;
    const us = this.#timetable.untilUs(PATIENCE_US, this.#world.us + ANY_TIME_PATIENCE_US);
    for (;;) {
      this.#world.advance(Math.max(us, this.#world.us), () => {
        this.#retry();
        return sent.length > 0;
      });
      const frame = sent.shift();
      if (frame === undefined) return undefined;
      const segment = readSegment(frame.packet);
      if (segment === undefined || !isOf(connection, segment)) continue;
      this.#log("outbound sniffed", frame.atUs, segment);
      return { segment, atUs: frame.atUs };
    }
  }

  #refuseExtra(last: ScriptEvent): void {
    for (const { packet, atUs } of this.#world.sent) {
      const segment = readSegment(packet);
      const connection = this.#connection;
      if (segment === undefined || connection === undefined || !isOf(connection, segment)) continue;
      const shown = `${showSeconds(atUs)} ${showSegment(connection.toScript(segment))}`;
      throw new ScriptFailure(last.line, `error handling packet: unexpected packet\nactual packet: ${shown}`);
    }
  }

  // Calls and code

  #call(event: ScriptEvent, action: SyscallAction): void {
    const handler = SYSCALLS[action.name];
    if (handler === undefined) throw new Unsupported(`system call ${action.name}()`);
    const { result } = action;
    const call: Call = {
      world: this.#world,
      sockets: this.#sockets,
      args: action.args,
      ip: this.#options.ip,
      toleranceUs: this.#script.options.toleranceUs,
      newFd: result.kind === "number" ? result.value : -1,
      connecting: (localPort, remotePort) => {
        this.#connection = new WireConnection(localPort, remotePort);
      },
      listening: () => void (this.#connection = undefined),
    };
    const outcome = handler(call);
    this.#world.turn();
    if (!("retry" in outcome)) {
      this.#checkResult(event.line, action, outcome);
      if (action.endUs !== undefined) {
        this.#timetable.checkAt(
          this.#timetable.endUs(event),
          this.#timetable.lastUs,
          this.#world.us,
          "system call return",
          event.line,
        );
      }
      this.#retry();
      return;
    }
    if (action.endUs === undefined) {
      const now = outcome.retry(); // the end of the turn may have brought it
      if (now === undefined) {
        throw new ScriptFailure(event.line, `error in ${action.name} call: it would block`);
      }
      this.#checkResult(event.line, action, now);
      return;
    }
    const endUs = this.#timetable.endUs(event);
    this.#waiting = { event, blocked: outcome, endUs, lastUs: this.#timetable.lastUs };
    this.#retry();
  }

  #checkResult(line: number, action: SyscallAction, { value, errno, mismatch }: Returned): void {
    const wrong = (message: string): never => {
      throw new ScriptFailure(line, `runtime error in ${action.name} call: ${message}`);
    };
    if (mismatch !== undefined) wrong(mismatch);
    if (action.result.kind === "any") return;
    const expected = numberOf(action.result);
    const got = errno === undefined ? `${value}` : `${value} with errno ${errno}`;
    if (value !== expected) wrong(`Expected result ${expected} but got ${got}`);
    if (
      action.errno === undefined ? errno !== undefined && expected !== -1 : !sameErrno(action.errno, errno)
    ) {
      wrong(`Expected errno ${action.errno} but got ${errno ?? "none"}`);
    }
  }

  #runCommand(event: ScriptEvent, text: string): void {
    try {
      applyCommand(text, this.#world.stack.tcp.config as TcpConfig, this.#world);
    } catch (error) {
      if (!(error instanceof CommandFailed)) throw error;
      throw new ScriptFailure(event.line, `error executing command: ${error.message}`);
    }
  }

  #runCode(event: ScriptEvent, text: string): void {
    try {
      runCode(text, tcpInfoNames(this.#world, this.#sockets.newest), this.#variables);
    } catch (error) {
      if (!(error instanceof AssertionFailed)) throw error;
      throw new ScriptFailure(event.line + error.line, `error executing code: ${error.message}`);
    }
    this.#world.turn();
  }

  #log(what: string, us: number, live: Segment): void {
    if (this.#options.log === undefined || this.#connection === undefined) return;
    const shown = what.startsWith("outbound")
      ? showSegment(this.#connection.toScript(live))
      : showSegment(live);
    this.#options.log(`${what} packet: ${showSeconds(us).padStart(10)} ${shown}`);
  }
}

const NAMES_OF_EVENTS: Readonly<Record<string, string>> = {
  packet: "inbound packet",
  icmp: "inbound packet",
  syscall: "system call start",
  command: "command",
  code: "data collection for code",
};

function isOf(connection: WireConnection, segment: Segment): boolean {
  return segment.sourcePort === connection.localPort && segment.destinationPort === connection.remotePort;
}

function sameErrno(expected: string, actual: string | undefined): boolean {
  return actual !== undefined &&
    numberOf({ kind: "word", name: expected }) === numberOf({ kind: "word", name: actual });
}

function noSocket(line: number): ScriptFailure {
  return new ScriptFailure(line, "error handling packet: no matching socket for script packet");
}

/** What the script expects, for printing. */
function expectedSegment(action: PacketAction): Segment {
  return {
    ...action,
    reserved: 0,
    options: [...action.options ?? []],
    payload: new Uint8Array(action.length),
    tos: 0,
    ttl: 0,
    flowLabel: 0,
  };
}

/** Pieces that follow one another, as the one segment that they might have been. */
function merged(pieces: readonly Segment[]): Segment {
  const first = pieces[0]!, last = pieces.at(-1)!;
  const payload = new Uint8Array(pieces.reduce((sum, { payload }) => sum + payload.length, 0));
  let at = 0;
  for (const piece of pieces) {
    payload.set(piece.payload, at);
    at += piece.payload.length;
  }
  return { ...first, flags: last.flags, options: last.options, payload };
}

function located(error: unknown, line: number): unknown {
  if (error instanceof Unsupported && error.line === undefined) return new Unsupported(error.message, line);
  if (error instanceof Unsupported || error instanceof ScriptFailure || !(error instanceof Error)) {
    return error;
  }
  return new ScriptFailure(line, `error handling event: ${error.stack ?? error.message}`);
}
