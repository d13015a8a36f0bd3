import { Slab } from "../../base/slab.ts";
import { type Call, describe, type Upcall } from "../../checkpoint/replay/boundary.ts";
import type { PlayObserver } from "../../checkpoint/replay/observer.ts";
import type { Player } from "../../checkpoint/replay/player.ts";
import type { CborValue } from "../../checkpoint/image/cbor.ts";
import { shown } from "../../checkpoint/image/explain.ts";
import type { Stack } from "../../net/stack.ts";
import { Tcb, TcpEvent } from "../../net/tcp/tcb.ts";
import { Drop, dropNames } from "../../net/wire/drop.ts";
import { formatPacket } from "../../net/wire/print.ts";
import type { Happening } from "./happening.ts";
import { StateWatch } from "./states.ts";

/** What every turn does, whether something happens or not. */
const ROUTINE: ReadonlySet<string> = new Set([
  ...["poll", "turn", "nextDeadlineMs", "watch", "deadlineMoved"],
  ...["output.mtuTowards", "draws.below", "addresses.parse", "addresses.retain", "addresses.release"],
  ...["frames.flush", "listeners.taken", "listeners.putBack", "tcp.wantDrained", "udp.configure"],
]);

/** Tells what happens in a replay, one happening at a time. */
export class Narrator implements PlayObserver {
  readonly #hear: (happening: Happening) => void;
  #player!: Player;
  #states: StateWatch | undefined;
  #step = 0;
  #depth = 0;

  constructor(hear: (happening: Happening) => void) {
    this.#hear = hear;
  }

  /** The player that it observes. */
  follow(player: Player): void {
    this.#player = player;
  }

  started(stack: Stack): void {
    this.#states = new StateWatch(stack);
    this.#tell("call", "a stack is made");
  }

  received(interfaceIndex: number, frame: Uint8Array): void {
    this.#newStep();
    this.#states!.touchFrame(frame, this.#player.mediumOf(interfaceIndex), true, interfaceIndex + 1);
    this.#tellFrame("in", interfaceIndex, frame, "");
    this.#depth++;
  }

  sent(interfaceIndex: number, frame: Uint8Array, taken: boolean): void {
    this.#states!.touchFrame(frame, this.#player.mediumOf(interfaceIndex), false, interfaceIndex + 1);
    this.#lookAtStates(); // what led to it comes first
    this.#tellFrame("out", interfaceIndex, frame, taken ? "" : " (the link refused it)");
  }

  called(call: Call, packed: readonly CborValue[], args: readonly unknown[]): void {
    this.#newStep();
    this.#touch(args);
    if (call.name.startsWith("sleepers.") && typeof args[0] === "number") this.#states!.touchRecord(args[0]);
    this.#tell("call", `${call.name}(${describe(call.packed, packed, this.#player.core!)})`, call.name);
    this.#depth++;
  }

  returned(name: string, packed: CborValue, result: unknown): void {
    this.#depth = Math.max(0, this.#depth - 1);
    if (result instanceof Tcb) this.#touch([result]);
    if (name === "receive") {
      const drop = result as Drop;
      if (drop !== Drop.None) this.#tell("verdict", `dropped: ${dropNames[drop]}`);
    } else if (packed !== null && name !== "tcp.freeze") {
      this.#tell("result", `= ${shown(packed)}`, name);
    }
    this.#lookAtStates();
  }

  threw(name: string, message: string): void {
    this.#depth = Math.max(0, this.#depth - 1);
    this.#tell("threw", `${name} threw "${message}"`);
    this.#lookAtStates();
  }

  told(upcall: Upcall, packed: readonly CborValue[], args: readonly unknown[]): void {
    this.#touch(args);
    if (upcall.name === "tcpSuspended") this.#states!.touchRecord(args[1] as number);
    this.#lookAtStates();
    let text = describe(upcall.packed, packed, this.#player.core!);
    if (upcall.name === "tcpEvents") {
      text = `${describe(upcall.packed.slice(0, 1), packed.slice(0, 1), this.#player.core!)}: ${
        eventsOf(args[1])
      }`;
    }
    this.#tell("told", `told ${upcall.name} ${text}`, upcall.name);
  }

  note(text: string): void {
    this.#tell("note", text);
  }

  #newStep(): void {
    if (this.#player.steps === this.#step) return;
    this.#step = this.#player.steps;
    this.#depth = 0;
    this.#states!.newStep();
  }

  #touch(args: readonly unknown[]): void {
    for (const each of args) if (each instanceof Tcb) this.#states!.touchTcb(each);
  }

  #lookAtStates(): void {
    for (const { connection, from, to } of this.#states!.changes()) {
      this.#hear({
        ...this.#place(),
        kind: "state",
        text: `${connection}: ${from} -> ${to}`,
        connection,
        state: to,
      });
    }
  }

  #tellFrame(kind: "in" | "out", interfaceIndex: number, frame: Uint8Array, behind: string): void {
    const slab = new Slab(frame.slice());
    const text = formatPacket(slab, 0, frame.length, this.#player.mediumOf(interfaceIndex)) + behind;
    const interfaceName = this.#player.stack!.output.interfaces[interfaceIndex]!.name;
    this.#hear({ ...this.#place(), kind, text, interfaceIndex, interfaceName, frame });
  }

  #tell(kind: Happening["kind"], text: string, name = ""): void {
    this.#hear({ ...this.#place(), kind, text, routine: ROUTINE.has(name) });
  }

  #place(): Pick<Happening, "step" | "timeMs" | "depth" | "routine"> {
    const { steps, nowMs } = this.#player;
    return { step: steps, timeMs: nowMs, depth: this.#depth, routine: false };
  }
}

const EVENT_NAMES = Object.entries(TcpEvent);

function eventsOf(bits: unknown): string {
  return EVENT_NAMES.filter(([, bit]) => ((bits as number) & bit) !== 0).map(([name]) => name).join(", ");
}
