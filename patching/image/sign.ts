import { encodeCbor } from "../../checkpoint/image/cbor.ts";
import { PatchError } from "../patch_error.ts";
import type { Patch } from "./patch.ts";
import { patchBody, toHex } from "./patch_body.ts";

/** What is signed begins with this, so that no signature of something else fits. */
const DOMAIN = "torpor patch 1";

/** A pair of Ed25519 keys as files hold them, in base64: PKCS #8 and the 32 bytes of the public key. */
export interface PatchKeys {
  readonly privateKey: string;
  readonly publicKey: string;
}

/** Makes a pair of keys. */
export async function makePatchKeys(): Promise<PatchKeys> {
  const pair = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]) as CryptoKeyPair;
  const [secret, open] = await Promise.all([
    crypto.subtle.exportKey("pkcs8", pair.privateKey),
    crypto.subtle.exportKey("raw", pair.publicKey),
  ]);
  return { privateKey: toBase64(new Uint8Array(secret)), publicKey: toBase64(new Uint8Array(open)) };
}

/**
 * The patch with a signature.
 * @throws {PatchError} `signature`, when the keys are none.
 */
export async function signPatch(patch: Patch, keys: PatchKeys): Promise<Patch> {
  const publicKey = publicKeyOf(keys.publicKey);
  let secret: CryptoKey;
  try {
    secret = await crypto.subtle.importKey("pkcs8", fromBase64(keys.privateKey), "Ed25519", false, ["sign"]);
  } catch (cause) {
    throw new PatchError("signature", "Cannot sign the patch: the private key is none of Ed25519", { cause });
  }
  const signature = new Uint8Array(await crypto.subtle.sign("Ed25519", secret, signedBytes(patch)));
  const signed = { ...patch, signature: { publicKey, signature } };
  await verifyPatch(signed, [keys.publicKey]); // the keys may be of two pairs
  return signed;
}

/**
 * Checks a patch's signature.
 *
 * @param trusted Public keys in base64; when it is empty, any good signature, or none, will do.
 * @throws {PatchError} `signature`, when it is not signed by one of them, or was changed since.
 */
export async function verifyPatch(patch: Patch, trusted: readonly string[]): Promise<void> {
  const refuse = (why: string, cause?: unknown): never => {
    throw new PatchError("signature", `Cannot trust patch "${patch.name}": ${why}`, { cause });
  };
  for (const { module, code, codeHash } of patch.wasm) {
    if (await sha256(code) !== codeHash) refuse(`the code for "${module}" is not what its hash says`);
  }
  const { signature } = patch;
  if (signature === undefined) {
    if (trusted.length > 0) refuse("it is not signed");
    return;
  }
  const known = trusted.map((key) => toHex(publicKeyOf(key)));
  if (known.length > 0 && !known.includes(toHex(signature.publicKey))) {
    refuse(`it is signed by ${toBase64(signature.publicKey)}, whom nobody trusts here`);
  }
  let good = false;
  try {
    const key = await crypto.subtle.importKey("raw", own(signature.publicKey), "Ed25519", false, ["verify"]);
    good = await crypto.subtle.verify("Ed25519", key, own(signature.signature), signedBytes(patch));
  } catch (cause) {
    refuse("its key is none of Ed25519", cause);
  }
  if (!good) refuse("it is not what was signed");
}

function signedBytes(patch: Patch): Uint8Array<ArrayBuffer> {
  return own(encodeCbor([DOMAIN, patchBody({ ...patch, signature: undefined })]));
}

/** SHA-256, in hexadecimal. */
export async function sha256(bytes: Uint8Array): Promise<string> {
  return toHex(new Uint8Array(await crypto.subtle.digest("SHA-256", own(bytes))));
}

function publicKeyOf(base64: string): Uint8Array<ArrayBuffer> {
  const bytes = fromBase64(base64);
  if (bytes.length === 32) return bytes;
  throw new PatchError("signature", `"${base64}" is no public key: expected 32 bytes in base64`);
}

function own(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes);
}

/** Bytes in base64, as keys are written. */
export function toBase64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}

function fromBase64(base64: string): Uint8Array<ArrayBuffer> {
  try {
    return Uint8Array.from(atob(base64.trim()), (character) => character.charCodeAt(0));
  } catch (cause) {
    throw new PatchError("signature", "A key is not in base64", { cause });
  }
}
