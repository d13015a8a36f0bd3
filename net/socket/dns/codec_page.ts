import { NotSupported } from "../errors.ts";
import type { DnsResponse, DnsType } from "./message.ts";

/**
 * What a bundle for a page has in the place of codec.ts, whose library needs Node's Buffer (package.json, "browser").
 * @throws {NotSupported} Always: there are no name servers in a page.
 */
export function encodeQuery(
  _id: number,
  name: string,
  _type: DnsType,
  _edns: boolean,
): Uint8Array<ArrayBuffer> {
  throw new NotSupported(`Cannot ask for "${name}": in a page names come from the option dns.hosts only`);
}

/** Is never asked: there was no question. */
export function decodeResponse(): DnsResponse | "other case" | undefined {
  return undefined;
}
