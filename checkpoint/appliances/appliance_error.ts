/** Why an appliance, a differential or a policy cannot be used. */
export type ApplianceReason =
  /** A path that would leave the tree: absolute, with `..`, through a link or a file. */
  | "path"
  /** A tar, an OCI layout or an archive that is damaged, or holds what is not understood. */
  | "format"
  /** Bytes whose hash is another than the one that is told. */
  | "hash"
  /** Beyond a limit. */
  | "limit"
  /** A base that the differential was not made for. */
  | "base"
  /** A file that is there already, or a program that is missing or fails. */
  | "system"
  /** A policy that cannot be read. */
  | "policy";

/** What cannot be used, where and why: `message` says it in words. */
export class ApplianceError extends Error {
  /** What `Error.prototype.name` says. */
  override name = "ApplianceError";
  /** What kind of mistake it is. */
  readonly reason: ApplianceReason;

  /** `message` says what was attempted, and what was found. */
  constructor(reason: ApplianceReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/** Throws an `ApplianceError`. */
export function refuse(reason: ApplianceReason, message: string, options?: ErrorOptions): never {
  throw new ApplianceError(reason, message, options);
}
