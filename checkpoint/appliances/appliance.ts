import type { Tree } from "./tree.ts";

/** A program of an appliance, as an image's configuration has it (OCI image specification, config.md). */
export interface Service {
  /** The appliance's name, or that of the label. */
  readonly name: string;
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  readonly env: readonly string[];
  /** `80/tcp`. */
  readonly ports: readonly string[];
  readonly user: string;
  readonly workingDir: string;
}

/** A layer as a file: a tar, perhaps compressed. */
export interface LayerBlob {
  /** SHA-256 of the file, and of the tar in it, in hexadecimal. */
  readonly digest: string;
  readonly diffId: string;
  readonly bytes: number;
  readonly compression: "none" | "gzip" | "zstd";
  /** Reads bytes of the file, all that are asked for. */
  read(position: number, into: Uint8Array): void;
}

/** An appliance that is open: its tree in memory, the bytes of its files where they lie. */
export interface Appliance extends Disposable {
  /** What it is called in messages. */
  readonly name: string;
  /** What it was read from. */
  readonly form: "directory" | "tar" | "oci" | "docker";
  readonly tree: Tree;
  /** Digests of its layers without compression, the lowest first; empty when it has none. */
  readonly layers: readonly string[];
  /** The same as files, where it has been read from an image. */
  readonly blobs: readonly LayerBlob[];
  /** What it starts; empty when nobody says. */
  readonly services: readonly Service[];
  /** `linux/amd64`. */
  readonly platform?: { readonly os: string; readonly architecture: string };
}
