import { assert } from "../../base/assert.ts";
import type { Entropy } from "../../base/random.ts";
import type { Slab } from "../../base/slab.ts";
import type { Firewall } from "../../net/firewall/firewall.ts";
import type { InterfaceOptions, StackOptions, StackRecorder } from "../../net/stack.ts";
import { Stack } from "../../net/stack.ts";
import { completeConfig } from "../../net/tcp/config.ts";
import type { CborValue } from "../image/cbor.ts";
import {
  type Call,
  CALLS,
  FIREWALL_REPLACE,
  NEW_STACK,
  SLEEP_OWNER,
  tellerOf,
  type Upcall,
  UPCALLS,
} from "./boundary.ts";
import { Core, plainData } from "./codecs.ts";
import { EventCode } from "./event.ts";
import { type About, SEGMENT_BYTES, SegmentWriter } from "./segments.ts";

/** How a recording is made. */
export interface RecorderOptions {
  /** Takes the recording, image by image, to keep. By default it stays in memory: see `bytes`. */
  write?(bytes: Uint8Array<ArrayBuffer>): void;
  /** Told once when something waits to be written: the moment to see to a `flush` soon. */
  waiting?(): void;
  /** The recording is over. */
  closed?(): void;
  /** Anything that tells where it comes from: a seed, a commit, a command. */
  about?: About;
  /** Where recording stops, the host going on. Default 1 GiB. */
  bytesMax?: number;
  /** Recording has stopped before its time; by default told on the console. */
  onError?(error: Error): void;
}

const BYTES_MAX = 2 ** 30;
/** What was recorded is written after so long, by the stack's clock, however little it is. */
const FLUSH_MS = 1_000;

type Method = (...args: unknown[]) => unknown;

/**
 * Records everything that the outside does to one stack, so that a {@linkcode Player} can do it again: the frames
 * that arrive, the clock, the entropy, what links accepted and what the layers above asked for.
 *
 * Recording changes nothing that the stack does. It takes 512 KiB of memory and stops by itself at `bytesMax`, or
 * when `write` throws. The recording holds every byte that crossed the stack, and its secrets.
 *
 * @example A host from its first moment on
 * ```ts
 * import { Host, pipe, Recorder } from "@torpor/torpor";
 * const [link] = pipe();
 * const recorder = new Recorder({ about: { seed: 7 } });
 * const host = new Host({ interfaces: [{ link }], addresses: [{ address: "10.0.0.1/24" }], recorder });
 * recorder.note("nothing happens");
 * host.close();
 * console.log(recorder.bytes().length); // a file for `torpor replay`
 * ```
 */
export class Recorder implements StackRecorder {
  readonly #options: RecorderOptions;
  readonly #writer: SegmentWriter;
  readonly #kept: Uint8Array<ArrayBuffer>[] = [];
  readonly #bytesMax: number;
  readonly #mtus: number[] = [];
  #core: Core | undefined;
  /** A call is under way in the stack: what it asks of itself is not from outside. */
  #inside = false;
  /** Calls that are under way: one, and those that were made in answer to news. */
  #depth = 0;
  #closing = false;
  #over = false;
  #flushedAtMs = -Infinity;

  /** For the option `recorder` of one host. */
  constructor(options: RecorderOptions = {}) {
    this.#options = options;
    this.#bytesMax = options.bytesMax ?? BYTES_MAX;
    const write = options.write?.bind(options) ?? ((bytes) => void this.#kept.push(bytes));
    this.#writer = new SegmentWriter(write, options.about ?? {});
  }

  /** The recording so far, where no `write` takes it. */
  bytes(): Uint8Array<ArrayBuffer> {
    this.flush();
    const whole = new Uint8Array(this.#kept.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const each of this.#kept) {
      whole.set(each, at);
      at += each.length;
    }
    return whole;
  }

  /** A remark that a replay shows in its place. */
  note(text: string): void {
    if (!this.#over) this.#event([EventCode.Note, text]);
  }

  /** Hands on what is gathered. What was handed on is readable, whatever happens to the process. */
  flush(): void {
    if (this.#over) return;
    this.#guarded(() => this.#writer.flush());
    this.#flushedAtMs = this.#core?.nowMs ?? -Infinity;
  }

  /** Nothing more is recorded from the end of the call that is under way; the stack goes on. Idempotent. */
  close(): void {
    if (this.#depth > 0) this.#closing = true;
    else this.#end("closed");
  }

  // StackRecorder

  /** @internal A stack that is recorded from its making on; once per recorder. */
  stack(options: StackOptions): Stack {
    assert(this.#core === undefined, "A recorder records one stack");
    const { entropy, ...rest } = options;
    this.#inside = true;
    const complete = { ...rest, tcp: completeConfig(rest.tcp) }; // defaults change
    this.#event([EventCode.Call, NEW_STACK, [plainData(complete)]]);
    const stack = new Stack({ ...options, entropy: this.#recorded(entropy) });
    this.#event([EventCode.Returned]);
    this.#inside = false;
    const core = this.#core = new Core(stack, options.nowMs);
    this.#flushedAtMs = options.nowMs;
    this.#listen(core);
    return stack;
  }

  #recorded(entropy: Entropy): Entropy {
    return {
      fill: (bytes) => {
        entropy.fill(bytes);
        if (!this.#over) this.#event([EventCode.Drew, bytes]);
      },
    };
  }

  /** Stands between the stack and whoever calls it. */
  #listen(core: Core): void {
    const { stack } = core;
    stack.calls = { ...stack.calls };
    for (const call of CALLS) {
      if (call.set) this.#listenToSetter(core, call);
      else this.#listenToMethod(core, call, call.on(stack) as Record<string, Method>);
    }
    this.#listenToLinks(stack);
    for (const on of ["upcalls", "owner"] as const) this.#listenToListener(core, on);
  }

  #listenToMethod(core: Core, call: Call, on: Record<string, Method>): void {
    assert(typeof on[call.method] === "function", `A stack has no ${call.name}`);
    const method = on[call.method]!.bind(on);
    on[call.method] = (...args) => this.#call(core, call, args, () => method(...args));
  }

  #listenToSetter(core: Core, call: Call): void {
    const { stack } = core;
    const name = call.method as "firewall" | "accepting";
    const inherited = Object.getOwnPropertyDescriptor(Stack.prototype, name);
    let own: unknown = stack[name];
    Object.defineProperty(stack, name, {
      configurable: true,
      get: () => inherited === undefined ? own : inherited.get!.call(stack),
      set: (value) =>
        this.#call(core, call, [value], () => {
          if (name === "firewall" && value !== undefined) this.#listenToFirewall(core, value as Firewall);
          if (inherited === undefined) own = value;
          else inherited.set!.call(stack, value);
        }),
    });
  }

  #listenToFirewall(core: Core, firewall: Firewall): void {
    const own = firewall as unknown as Record<string, Method>;
    const { method } = FIREWALL_REPLACE;
    if (Object.hasOwn(own, method)) return;
    const replace = own[method]!.bind(firewall);
    own[method] = (...args) => {
      if (core.stack.firewall !== firewall) return replace(...args); // that of days gone by
      return this.#call(core, FIREWALL_REPLACE, args, () => replace(...args));
    };
  }

  #listenToLinks(stack: Stack): void {
    const addInterface = stack.addInterface.bind(stack);
    stack.addInterface = (options: InterfaceOptions): number => {
      const { link } = options;
      const index = stack.output.interfaces.length;
      this.#mtus[index] = link.mtu;
      return addInterface({
        ...options,
        link: {
          medium: link.medium,
          get mtu(): number {
            return link.mtu;
          },
          send: (slab: Slab, start: number, end: number): boolean => {
            const taken = link.send(slab, start, end);
            if (!this.#over) this.#event([EventCode.Sent, index, slab.bytes.subarray(start, end), taken]);
            return taken;
          },
          flush: () => link.flush(),
        },
      });
    };
  }

  /** Those who are told things are put there when the stack is made, and later by whoever keeps the sleepers. */
  #listenToListener(core: Core, on: Upcall["on"]): void {
    let own: unknown;
    Object.defineProperty(tellerOf(core.stack, on), on, {
      configurable: true,
      get: () => own,
      set: (value) => {
        if (on === "owner" && !this.#over) {
          this.#event([EventCode.Call, SLEEP_OWNER, [value !== undefined]]);
          this.#event([EventCode.Returned]);
        }
        own = value === undefined ? undefined : this.#hearing(core, on, value as Record<string, Method>);
      },
    });
  }

  #hearing(core: Core, on: Upcall["on"], heard: Record<string, Method>): unknown {
    const hearing: Record<string, Method> = {};
    for (const upcall of UPCALLS) {
      if (upcall.on !== on) continue;
      hearing[upcall.method] = (...args) =>
        this.#upcall(core, upcall, args, () => heard[upcall.method]!(...args));
    }
    return hearing;
  }

  #call(core: Core, call: Call, args: unknown[], make: () => unknown): unknown {
    if (this.#inside || this.#over) return make();
    const packed = this.#guarded(() => call.pack(args, core));
    if (packed === undefined) return make();
    this.#lookAtLinks(core.stack);
    this.#event([EventCode.Call, call.code, packed]);
    this.#inside = true;
    this.#depth++;
    try {
      const result = make();
      const told = this.#guarded(() => call.result(result, args, core)) ?? null;
      this.#event(told === null ? [EventCode.Returned] : [EventCode.Returned, told]);
      return result;
    } catch (error) {
      this.#event([EventCode.Threw, String(error)]);
      throw error;
    } finally {
      this.#inside = false;
      if (--this.#depth === 0) this.#callIsOver(core);
    }
  }

  #callIsOver({ nowMs }: Core): void {
    if (this.#closing) this.#end("closed");
    else if (this.#writer.gatheredBytes >= SEGMENT_BYTES || nowMs - this.#flushedAtMs >= FLUSH_MS) {
      this.flush();
    }
  }

  #upcall(core: Core, upcall: Upcall, args: unknown[], make: () => unknown): unknown {
    if (this.#over) return make();
    this.#event([EventCode.Told, upcall.code, this.#guarded(() => upcall.pack(args, core)) ?? []]);
    const inside = this.#inside;
    this.#inside = false;
    let answer: unknown;
    try {
      answer = make();
    } catch (error) {
      this.#event([EventCode.Failed, String(error)]);
      throw error;
    } finally {
      this.#inside = inside;
    }
    const told = upcall.answer.encode(answer, core) ?? null;
    this.#event(told === null ? [EventCode.Heard] : [EventCode.Heard, told]);
    return answer;
  }

  /** A link that came back may carry other packets than the one before it (net/link/reconnecting.ts). */
  #lookAtLinks({ output: { interfaces } }: Stack): void {
    for (let index = 0; index < interfaces.length; index++) {
      const { mtu } = interfaces[index]!.link;
      if (mtu === this.#mtus[index]) continue;
      this.#mtus[index] = mtu;
      this.#event([EventCode.Mtu, index, mtu]);
    }
  }

  #event(event: readonly CborValue[]): void {
    if (this.#over) return;
    const waiting = this.#writer.gatheredBytes > 0;
    this.#guarded(() => this.#writer.add(event));
    if (!waiting && this.#writer.gatheredBytes > 0) this.#options.waiting?.();
    if (this.#writer.bytes >= this.#bytesMax) this.#end("limit");
  }

  /** What goes wrong with the recording does not become the stack's trouble. */
  #guarded<T>(act: () => T): T | undefined {
    try {
      return act();
    } catch (cause) {
      const error = new Error(`Recording has stopped: ${cause instanceof Error ? cause.message : cause}`, {
        cause,
      });
      this.#end(undefined);
      if (this.#options.onError === undefined) console.error(error.message);
      else this.#options.onError(error);
      return undefined;
    }
  }

  /** @param why `undefined` when nothing more can be written. */
  #end(why: string | undefined): void {
    if (this.#over) return;
    if (why !== undefined) {
      this.#guarded(() => {
        this.#writer.add([EventCode.End, why]);
        this.#writer.flush();
      });
      if (this.#over) return;
    }
    this.#over = true;
    this.#guardedClose();
  }

  #guardedClose(): void {
    try {
      this.#options.closed?.();
    } catch (error) {
      this.#options.onError?.(error instanceof Error ? error : new Error(String(error)));
    }
  }
}
