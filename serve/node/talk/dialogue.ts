import type { CborValue } from "../../../checkpoint/image/cbor.ts";

/** What two sides say to each other in one protocol, as somebody follows it who only listens. */
export interface Dialogue {
  /** The client's next bytes. */
  heard(bytes: Uint8Array): void;
  /** The server's next bytes. */
  said(bytes: Uint8Array): void;
  /** Whether it will never be `between` again: nobody need wait for that. */
  readonly lost: boolean;
  /**
   * Whether nothing is under way: nothing half said on either side, nothing that waits for its answer. Here a program may
   * be exchanged for another one that is told `kept`.
   */
  readonly between: boolean;
  /** What the image keeps of it, when `between`: enough to begin it again with a program that has not heard it. */
  readonly kept: CborValue;
  /** What is spoken from here on, when that is something else. */
  readonly next?: Dialogue | undefined;
}

/** How a dialogue is begun again with a program that has not heard it: its opening is said once more. */
export interface Opening {
  /** What the program hears first. */
  readonly first: Uint8Array;
  /**
   * The program's next bytes.
   * @throws {OpeningRefused} When it answers otherwise than the program before it.
   */
  said(bytes: Uint8Array): OpeningStep;
}

/** What comes of a program's answer to an opening. */
export interface OpeningStep {
  /** What the peer has to hear: all that it has not heard from the program before. */
  readonly peer: Uint8Array;
  /** What the program hears next. */
  readonly program?: Uint8Array;
  /** Whether it is over: all that follows is the dialogue. */
  readonly done: boolean;
}

/** A program that does not take up what another one has begun. */
export class OpeningRefused extends Error {
  override name = "OpeningRefused";
}

/** A protocol that is not followed, or cannot be any more: it is always in the middle of something. */
export class UnknownDialogue implements Dialogue {
  readonly lost = true;
  readonly between = false;
  readonly kept = null;
  /** Nothing is known of it. */
  heard(): void {}
  /** Nothing is known of it. */
  said(): void {}
}

/** Bytes of an opening, all of it: more is not kept, since each sleeper has it in its image. */
export const OPENING_BYTES_MAX = 8 * 1024;
