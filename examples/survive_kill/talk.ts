import { Prng } from "../../mod.ts";

/** What a connection has heard so far: the server keeps it in the attachment, so it sleeps with the image. */
export interface Heard {
  hash: number;
  bytes: number;
}

/** What a new connection has heard: nothing (FNV-1a's offset basis). */
export function nothingHeard(): Heard {
  return { hash: 0x811c9dc5, bytes: 0 };
}

/**
 * The server's answer: one byte for each byte heard, every one depending on all that this connection
 * has ever said. A server that has forgotten, repeated or mixed up a single byte answers wrongly from
 * there on.
 */
export function answer(heard: Heard, said: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(said.length);
  let hash = heard.hash;
  for (let at = 0; at < said.length; at++) {
    hash = Math.imul(hash ^ said[at]!, 0x01000193) >>> 0; // FNV-1a
    bytes[at] = (hash >>> 24) ^ heard.bytes++;
  }
  heard.hash = hash;
  return bytes;
}

/** From one byte to a message that needs two full segments. */
const MESSAGE_BYTES_MAX = 2_000;

/** What connection `index` says in a round: random bytes in a random number, the same in every run. */
export function message(seed: number, index: number, round: number): Uint8Array<ArrayBuffer> {
  const prng = new Prng(seed * 0x1_0000_0000 + index * 16 + round);
  const bytes = new Uint8Array(prng.between(1, MESSAGE_BYTES_MAX));
  prng.fill(bytes);
  return bytes;
}

/** The network of this example. The server owns a whole subnet, and each connection goes to an address of it. */
export const NETWORK = {
  serverAddress: "10.7.0.1",
  clientAddress: "10.7.0.2",
  prefixLength: 24,
  serverSubnet: "10.8.0.0/16",
  port: 7,
} as const;

/** The address that connection `index` goes to. */
export function serverAddressOf(index: number): string {
  return `10.8.${(index >>> 8) & 255}.${index & 255}`;
}
