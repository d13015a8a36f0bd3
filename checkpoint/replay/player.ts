import type { Slab } from "../../base/slab.ts";
import type { InterfaceOptions, StackOptions } from "../../net/stack.ts";
import { Stack } from "../../net/stack.ts";
import type { TcpConfig } from "../../net/tcp/config.ts";
import type { Medium } from "../../net/link/link.ts";
import { formatPacket } from "../../net/wire/print.ts";
import { type CborValue, encodeCbor } from "../image/cbor.ts";
import { shown } from "../image/explain.ts";
import {
  type Call,
  CALL_BY_CODE,
  NEW_STACK,
  SLEEP_OWNER,
  type Upcall,
  UPCALL_BY_CODE,
  UPCALLS,
} from "./boundary.ts";
import { Core, fromPlainData, slabOf } from "./codecs.ts";
import { Difference, type PlayedFrame, RecordingEnds, type ReplayPlace } from "./difference.ts";
import { EventCode, type EventValue, ReplayError, type ReplayEvent } from "./event.ts";
import type { PlayObserver } from "./observer.ts";
import type { ReplayReader } from "./reader.ts";

/** How a recording is played. */
export interface PlayerOptions {
  /** Another configuration than the recorded one: what would have been? */
  readonly tcp?: Partial<TcpConfig>;
  /** Hears what happens, as it happens. */
  readonly observer?: PlayObserver;
}

type Method = (...args: unknown[]) => unknown;

/**
 * Does to a stack what a recording says was done to another, and compares what it answers and sends.
 *
 * @example
 * ```ts
 * import { Host, pipe, Player, Recorder, ReplayReader } from "@torpor/torpor";
 * const [link] = pipe();
 * const recorder = new Recorder();
 * new Host({ interfaces: [{ link }], addresses: [{ address: "10.0.0.1/24" }], recorder }).close();
 * const player = new Player(new ReplayReader(recorder.bytes()));
 * while (player.step());
 * console.log(player.difference); // undefined
 * ```
 */
export class Player {
  /** Where the events come from. */
  readonly reader: ReplayReader;
  /** Where the replay ceased to be the same; nothing is played from there on. */
  difference: Difference | undefined;
  readonly #options: PlayerOptions;
  readonly #events: Generator<ReplayEvent, void, void>;
  readonly #mtus: number[] = [];
  readonly #media: Medium[] = [];
  #next: ReplayEvent | undefined;
  #core: Core | undefined;
  #steps = 0;
  #framesIn = 0;
  #framesOut = 0;

  /** Plays what `reader` reads. */
  constructor(reader: ReplayReader, options: PlayerOptions = {}) {
    this.reader = reader;
    this.#options = options;
    this.#events = reader.events();
    this.#advance();
  }

  /** Calls from outside that have been played: a batch of frames, a turn, something that a host asked for. */
  get steps(): number {
    return this.#steps;
  }
  /** Frames that the stack was given so far. */
  get framesIn(): number {
    return this.#framesIn;
  }
  /** Frames that it has sent. */
  get framesOut(): number {
    return this.#framesOut;
  }
  /** The recording's time, milliseconds since the epoch; 0 before the stack is made. */
  get nowMs(): number {
    return this.#core?.nowMs ?? 0;
  }
  /** @internal The replay's side of the boundary, once the stack is made. */
  get core(): Core | undefined {
    return this.#core;
  }
  /** @internal The stack as it is now, to look at; `undefined` until it is made. */
  get stack(): Stack | undefined {
    return this.#core?.stack;
  }
  /** What an interface carries. */
  mediumOf(index: number): Medium {
    return this.#media[index] ?? "ethernet";
  }

  /**
   * Plays the next call and all that happens in it.
   * @returns False at the end of the recording, or at the first difference.
   * @throws {ReplayError} When the recording cannot be read any further.
   */
  step(): boolean {
    if (this.difference !== undefined) return false;
    for (;;) {
      const event = this.#next;
      if (event === undefined) return false;
      const [code] = event.value;
      if (code === EventCode.Call) {
        this.#steps++;
        try {
          this.#call(event);
        } catch (error) {
          if (!(error instanceof Difference)) throw error;
          this.difference = error instanceof RecordingEnds ? undefined : error;
          this.#next = undefined;
          return false;
        }
        return true;
      }
      this.#advance();
      if (!this.#beside(event)) {
        throw new ReplayError(event.offset, `event ${code} stands outside of any call`);
      }
    }
  }

  #advance(): void {
    const next = this.#events.next();
    this.#next = next.done ? undefined : next.value;
  }

  /** What is no part of a call's course: remarks, links that change, the end. */
  #beside({ value }: ReplayEvent): boolean {
    const [code, first, second] = value;
    if (code === EventCode.Mtu) this.#mtus[first as number] = second as number;
    else if (code === EventCode.Note) this.#options.observer?.note?.(String(first));
    else if (code !== EventCode.End) return false;
    return true;
  }

  /** The next event that belongs to a call. A recording may end within one: then its process did. */
  #take(): ReplayEvent {
    for (;;) {
      const event = this.#next;
      if (event === undefined) throw this.difference = new RecordingEnds(this.#place(undefined));
      this.#advance();
      if (!this.#beside(event)) return event;
    }
  }

  #call(event: ReplayEvent): void {
    this.#advance();
    const [, code, args] = event.value;
    if (code === NEW_STACK) return this.#newStack(event);
    const core = this.#core;
    if (core === undefined) {
      throw new ReplayError(event.offset, "something is asked of a stack before it is made");
    }
    const { stack } = core;
    if (code === SLEEP_OWNER) {
      const there = (args as readonly CborValue[])[0] === true;
      stack.sleepers.owner = there ? this.#hearing("owner") as never : undefined;
      return this.#finish(event, "sleepOwner", null, undefined);
    }
    const call = CALL_BY_CODE.get(code as number);
    if (call === undefined) throw new ReplayError(event.offset, `call ${code} is not known`);
    this.#make(event, core, call, args as readonly CborValue[]);
  }

  #make(event: ReplayEvent, core: Core, call: Call, packed: readonly CborValue[]): void {
    const { observer } = this.#options;
    let args: unknown[];
    try {
      args = call.unpack(packed, core);
    } catch (error) {
      throw this.#differ(`cannot call ${call.name} as recorded: ${error}`, event);
    }
    if (call.name === "receive") {
      this.#framesIn++;
      observer?.received?.(packed[0] as number, packed[1] as Uint8Array);
    } else observer?.called?.(call, packed, args);
    if (call.name === "addInterface") args = [this.#replayed(args[0] as InterfaceOptions)];
    const on = call.on(core.stack) as Record<string, unknown>;
    let result: unknown;
    try {
      if (call.set) on[call.method] = args[0];
      else result = (on[call.method] as Method)(...args);
    } catch (error) {
      if (error instanceof Difference) throw error;
      if (this.difference !== undefined) throw this.difference;
      return this.#threw(event, call.name, error);
    }
    if (this.difference !== undefined) throw this.difference; // found inside, where somebody caught it
    this.#finish(event, call.name, call.result(result, args, core), result);
  }

  #newStack(event: ReplayEvent): void {
    if (this.#core !== undefined) throw new ReplayError(event.offset, "a second stack is made");
    const options = fromPlainData((event.value[2] as readonly CborValue[])[0]!) as Omit<
      StackOptions,
      "entropy"
    >;
    const stack = new Stack({
      ...options,
      tcp: { ...options.tcp, ...this.#options.tcp },
      entropy: { fill: (bytes) => this.#draw(bytes) },
    });
    this.#core = new Core(stack, options.nowMs);
    stack.upcalls = this.#hearing("upcalls") as never;
    this.#options.observer?.started?.(stack, options.nowMs);
    this.#finish(event, "new Stack", null, undefined);
  }

  /** The call has returned: so it did when it was recorded, and with this. */
  #finish(call: ReplayEvent, name: string, result: CborValue, value: unknown): void {
    const event = this.#take();
    const [code, recorded = null] = event.value;
    const { observer } = this.#options;
    if (code === EventCode.Returned && sameValue(result, recorded)) {
      observer?.returned?.(name, result, value);
      return;
    }
    const got = `${name} returned ${shown(result)}`;
    if (code === EventCode.Returned) {
      throw this.#differ(`${name} returned ${unlike(result, recorded)}`, call);
    }
    throw this.#differ(
      `${got}, where the recording has: ${this.#tell(event.value)}`,
      event,
      sentOf(event.value),
    );
  }

  #threw(call: ReplayEvent, name: string, error: unknown): void {
    const event = this.#take();
    const [code, recorded] = event.value;
    if (code === EventCode.Threw && recorded === String(error)) {
      this.#options.observer?.threw?.(name, String(error));
      return;
    }
    throw this.#differ(
      `${name} threw "${error}", where the recording has: ${this.#tell(event.value)}`,
      code === EventCode.Threw ? call : event,
      sentOf(event.value),
    );
  }

  #draw(bytes: Uint8Array<ArrayBuffer>): void {
    if (this.difference !== undefined) return;
    const event = this.#take();
    const [code, drawn] = event.value;
    if (code !== EventCode.Drew || (drawn as Uint8Array).length !== bytes.length) {
      throw this.#differ(
        `the stack draws ${bytes.length} random bytes, where the recording has: ${this.#tell(event.value)}`,
        event,
        sentOf(event.value),
      );
    }
    bytes.set(drawn as Uint8Array);
  }

  /** An interface whose link takes and refuses what the recorded one did. */
  #replayed({ link, ...options }: InterfaceOptions): InterfaceOptions {
    const index = this.#core!.stack.output.interfaces.length;
    this.#mtus[index] = link.mtu;
    this.#media[index] = link.medium;
    const mtus = this.#mtus;
    return {
      ...options,
      link: {
        medium: link.medium,
        get mtu(): number {
          return mtus[index]!;
        },
        send: (slab: Slab, start: number, end: number) => this.#send(index, slab.bytes.subarray(start, end)),
        flush() {},
      },
    };
  }

  #send(index: number, frame: Uint8Array): boolean {
    if (this.difference !== undefined) return true; // the stack unwinds
    const event = this.#take();
    const got: PlayedFrame = { interfaceIndex: index, bytes: frame.slice() };
    const recorded = sentOf(event.value);
    if (recorded === undefined) {
      throw this.#differ(
        `the stack sends a frame, where the recording has: ${this.#tell(event.value)}`,
        event,
        undefined,
        got,
      );
    }
    if (recorded.interfaceIndex !== index || !sameBytes(recorded.bytes, frame)) {
      throw this.#differ("the stack sends another frame than recorded", event, recorded, got);
    }
    this.#framesOut++;
    this.#options.observer?.sent?.(index, got.bytes, event.value[3] === true);
    return event.value[3] === true;
  }

  #hearing(on: Upcall["on"]): Record<string, Method> {
    const hearing: Record<string, Method> = {};
    for (const upcall of UPCALLS) {
      if (upcall.on === on) hearing[upcall.method] = (...args) => this.#told(upcall, args);
    }
    return hearing;
  }

  /** The stack tells something: those who were told made these calls before they returned. */
  #told(upcall: Upcall, args: unknown[]): unknown {
    if (this.difference !== undefined) return upcall.answer.decode(null, this.#core!);
    const core = this.#core!;
    const packed = upcall.pack(args, core);
    const event = this.#take();
    const [code, which, recorded] = event.value;
    if (code !== EventCode.Told || which !== upcall.code || !sameValue(packed, recorded!)) {
      throw this.#differ(
        `the stack tells ${upcall.name}${shown(packed)}, where the recording has: ${this.#tell(event.value)}`,
        event,
        sentOf(event.value),
      );
    }
    this.#options.observer?.told?.(upcall, packed, args);
    for (;;) {
      const next = this.#take();
      const [end, answer = null] = next.value;
      if (end === EventCode.Heard) return upcall.answer.decode(answer, core);
      if (end === EventCode.Failed) throw new Error(String(answer));
      if (end !== EventCode.Call) throw new ReplayError(next.offset, `event ${end} stands where a call must`);
      this.#nested(next);
    }
  }

  #nested(event: ReplayEvent): void {
    const [, code, args] = event.value;
    const call = CALL_BY_CODE.get(code as number);
    if (call === undefined) throw new ReplayError(event.offset, `call ${code} cannot stand here`);
    this.#make(event, this.#core!, call, args as readonly CborValue[]);
  }

  #tell(event: EventValue): string {
    const [code, first, second] = event;
    const sent = sentOf(event);
    if (sent !== undefined) return `a frame is sent: ${this.print(sent)}`;
    if (code === EventCode.Call) {
      return `${CALL_BY_CODE.get(first as number)?.name ?? `call ${first}`}${shown(second!)}`;
    }
    if (code === EventCode.Returned) return `the call returns ${shown(first ?? null)}`;
    if (code === EventCode.Told) {
      return `${UPCALL_BY_CODE.get(first as number)?.name ?? `upcall ${first}`}${shown(second!)} is told`;
    }
    if (code === EventCode.Drew) return `${(first as Uint8Array).length} random bytes are drawn`;
    if (code === EventCode.Threw) return `the call throws "${first}"`;
    return "whoever was told has heard it";
  }

  /** A frame on one line, as tcpdump prints it. */
  print({ interfaceIndex, bytes }: PlayedFrame): string {
    const slab = slabOf(bytes);
    return formatPacket(slab, 0, bytes.length, this.mediumOf(interfaceIndex));
  }

  #place(event: ReplayEvent | undefined): ReplayPlace {
    return { step: this.#steps, nowMs: this.nowMs, offset: event?.offset ?? this.reader.bytesRead };
  }

  #differ(
    what: string,
    event: ReplayEvent | undefined,
    recorded?: PlayedFrame,
    got?: PlayedFrame,
  ): Difference {
    const place = this.#place(event);
    const lines = [
      `${what} (step ${place.step}, byte ${place.offset} of the recording)`,
      ...(recorded === undefined ? [] : [`  recorded: ${this.print(recorded)}`]),
      ...(got === undefined ? [] : [`  replayed: ${this.print(got)}`]),
    ];
    return this.difference = new Difference(lines.join("\n"), place, recorded, got);
  }
}

function sentOf([code, index, bytes]: EventValue): PlayedFrame | undefined {
  return code === EventCode.Sent
    ? { interfaceIndex: index as number, bytes: bytes as Uint8Array }
    : undefined;
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let at = 0; at < a.length; at++) if (a[at] !== b[at]) return false;
  return true;
}

/** Two values that differ, and where. */
function unlike(got: CborValue, recorded: CborValue): string {
  if (!Array.isArray(got) || !Array.isArray(recorded)) return `${shown(got)}, recorded ${shown(recorded)}`;
  const length = Math.max(got.length, recorded.length);
  const at = Array.from({ length }, (_, index) => index).find((index) => {
    return !sameValue(got[index] ?? null, recorded[index] ?? null);
  });
  return `${shown(got)} with [${at}] = ${shown(got[at!] ?? null)}, recorded ${shown(recorded[at!] ?? null)}`;
}

function sameValue(a: CborValue, b: CborValue): boolean {
  return a === b || (typeof a === "object" && a !== null && sameBytes(encodeCbor(a), encodeCbor(b)));
}
