import type { Stack } from "../../net/stack.ts";
import type { CborValue } from "../image/cbor.ts";
import type { Call, Upcall } from "./boundary.ts";

/** Hears what happens in a replay, in its order. Must not change the stack. Frames are the observer's to keep. */
export interface PlayObserver {
  /** @internal A stack is made. */
  started?(stack: Stack, nowMs: number): void;
  /** A frame arrives; what comes of it follows. */
  received?(interfaceIndex: number, frame: Uint8Array): void;
  /** A frame leaves, or its link refuses it. */
  sent?(interfaceIndex: number, frame: Uint8Array, taken: boolean): void;
  /** @internal The outside asks for something else than taking a frame. */
  called?(call: Call, packed: readonly CborValue[], args: readonly unknown[]): void;
  /** It was answered: `packed` is what a recording says of the result. */
  returned?(name: string, packed: CborValue, result: unknown): void;
  /** A call has thrown. */
  threw?(name: string, message: string): void;
  /** @internal Somebody above the stack is told something. */
  told?(upcall: Upcall, packed: readonly CborValue[], args: readonly unknown[]): void;
  /** A remark of whoever recorded. */
  note?(text: string): void;
}
