import type { Stack } from "../../net/stack.ts";
import type { CborValue } from "../image/cbor.ts";
import type { Call, Upcall } from "./boundary.ts";

/** Hears what happens in a replay, in its order. Must not change the stack. Frames are the observer's to keep. */
export interface PlayObserver {
  started?(stack: Stack, nowMs: number): void;
  /** A frame arrives; what comes of it follows. */
  received?(interfaceIndex: number, frame: Uint8Array): void;
  sent?(interfaceIndex: number, frame: Uint8Array, taken: boolean): void;
  /** The outside asks for something else than taking a frame. */
  called?(call: Call, packed: readonly CborValue[], args: readonly unknown[]): void;
  /** It was answered: `packed` is what a recording says of the result. */
  returned?(name: string, packed: CborValue, result: unknown): void;
  threw?(name: string, message: string): void;
  told?(upcall: Upcall, packed: readonly CborValue[], args: readonly unknown[]): void;
  note?(text: string): void;
}
