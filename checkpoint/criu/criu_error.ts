/** A connection that CRIU cannot hold, or images of CRIU's that cannot be read. */
export class CriuError extends Error {
  override name = "CriuError";
}
