/** Something that happens in a replay, in words. */
export interface Happening {
  /** The call from outside in which it happens, counted from 1. */
  readonly step: number;
  /** The recording's time, epoch milliseconds. */
  readonly timeMs: number;
  /** How many calls it stands within: what is told, and asked in answer, is deeper. */
  readonly depth: number;
  readonly kind: HappeningKind;
  readonly text: string;
  /** For frames: where, and what. */
  readonly interfaceIndex?: number;
  readonly interfaceName?: string;
  readonly frame?: Uint8Array;
  /** For a change of state: whose, and to which. */
  readonly connection?: string;
  readonly state?: string;
  /** It happens all the time and says little. */
  readonly routine: boolean;
}

export type HappeningKind =
  | "in"
  | "verdict"
  | "state"
  | "out"
  | "call"
  | "result"
  | "threw"
  | "told"
  | "note";
