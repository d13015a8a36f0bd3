/** The one image format: deterministic CBOR, read, write, verify, explain. @module */
export { CborError, type CborValue, decodeCbor, encodeCbor } from "./cbor.ts";
export { explainImage } from "./explain.ts";
export { BODY_BYTES_MAX, CHUNK_BYTES_MAX, CHUNKS_MAX, type Frame, readFrame } from "./frame.ts";
export { ImageError, type Part } from "./image_error.ts";
export { Kind, type KindInfo, kindInfo, kindName, registerKind } from "./kinds.ts";
export { type Image, readImage, type ReadOptions, verifyChunk } from "./read.ts";
export { type PartReport, type Report, verifyImage, verifyPieces } from "./verify.ts";
export { type ImageContent, imagePieces, writeImage } from "./write.ts";
