/** Why a handover did not come about. */
export type HandoverReason =
  /** Nobody listens there: no process, or one that offers nothing. */
  | "nobody"
  /** Another process is being handed over to. */
  | "busy"
  /** The other process has not answered, or not let go, in time. */
  | "stuck"
  /** It has ended in the middle of it. */
  | "gone"
  /** It could not let go, and says why. */
  | "failed"
  /** It speaks another version of this, or something else. */
  | "strange";

/** A handover that did not come about. `stopping` says whether the other process had been told to stop by then. */
export class HandoverError extends Error {
  /** What `Error.prototype.name` says. */
  override name = "HandoverError";
  /** What is in the way. */
  readonly reason: HandoverReason;
  /** Whether the other process had been told to stop. */
  readonly stopping: boolean;
  /** `message` says what was attempted. */
  constructor(reason: HandoverReason, message: string, stopping = false, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
    this.stopping = stopping;
  }
}
