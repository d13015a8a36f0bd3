/** A frame at an interface. */
export interface PlayedFrame {
  /** Where. */
  readonly interfaceIndex: number;
  /** The frame. */
  readonly bytes: Uint8Array;
}

/** Where in a recording something is. */
export interface ReplayPlace {
  /** The call from outside, counted from 1. */
  readonly step: number;
  /** Epoch milliseconds. */
  readonly nowMs: number;
  /** The byte of the file. */
  readonly offset: number;
}

/** Where a replay ceased to be what was recorded. */
export class Difference extends Error {
  /** What `Error.prototype.name` says. */
  override name = "Difference";
  /** Where in the recording. */
  readonly place: ReplayPlace;
  /** The frames that should be the same, where it shows in one. */
  readonly recorded: PlayedFrame | undefined;
  /** The frame that was sent instead, if any was. */
  readonly replayed: PlayedFrame | undefined;

  /** @internal */
  constructor(
    message: string,
    place: ReplayPlace,
    recorded: PlayedFrame | undefined,
    replayed: PlayedFrame | undefined,
  ) {
    super(message);
    this.place = place;
    this.recorded = recorded;
    this.replayed = replayed;
  }
}

/** A recording that was cut short ends in the middle of a call: how it went on is not known, and no difference. */
export class RecordingEnds extends Difference {
  constructor(place: ReplayPlace) {
    super("the recording ends here", place, undefined, undefined);
  }
}
