/** Why a host's control socket cannot be used: nobody is there, or what was asked was refused. */
export type ControlReason = "nobody" | "refused" | "gone" | "failed";

/** A control socket that cannot be offered or used, or an answer that says no. */
export class ControlError extends Error {
  /** What `Error.prototype.name` says. */
  override name = "ControlError";
  /** What is in the way. */
  readonly reason: ControlReason;

  /** `message` says what was attempted. */
  constructor(reason: ControlReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}
