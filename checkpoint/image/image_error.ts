/** The part of an image that an error names. */
export type Part = "header" | "body" | `chunk ${number}` | "chunks" | "trailer" | "image";

/** An image that cannot be opened. `offset` is the byte at which reading stopped, `part` what is there. */
export class ImageError extends Error {
  /** What `Error.prototype.name` says. */
  override name = "ImageError";
  /** The byte of the image at which reading stopped. */
  readonly offset: number;
  /** The part of the image that it is in. */
  readonly part: Part;
  /** `message` says what was found and what was needed. */
  constructor(part: Part, offset: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.part = part;
    this.offset = offset;
  }
}
