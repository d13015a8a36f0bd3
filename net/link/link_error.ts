/**
 * What went wrong with a link, for programs.
 * - `unsupported`: this system, runtime or library cannot do it.
 * - `missing`: the device, file or server is not there.
 * - `denied`: not permitted.
 * - `busy`: somebody else holds the name.
 * - `protocol`: the other end broke the framing; the link has ended.
 * - `io`: the operating system failed the call.
 */
export type LinkErrorCode = "unsupported" | "missing" | "denied" | "busy" | "protocol" | "io";

/** A link that cannot be opened, or that ended without being asked to. */
export class LinkError extends Error {
  override name = "LinkError";
  readonly code: LinkErrorCode;

  constructor(code: LinkErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
