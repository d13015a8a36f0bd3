/** The part of an image that an error names. */
export type Part = "header" | "body" | `chunk ${number}` | "chunks" | "trailer" | "image";

/** An image that cannot be opened. `offset` is the byte at which reading stopped, `part` what is there. */
export class ImageError extends Error {
  override name = "ImageError";
  readonly offset: number;
  readonly part: Part;
  constructor(part: Part, offset: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.part = part;
    this.offset = offset;
  }
}
