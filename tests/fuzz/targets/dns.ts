import { Buffer } from "node:buffer";
import packet from "dns-packet";
import { assert } from "../../../base/assert.ts";
import { decodeResponse, encodeQuery } from "../../../net/socket/dns/codec.ts";
import { DNS_TYPES, type DnsType } from "../../../net/socket/dns/message.ts";
import type { Target } from "../target.ts";

const ID = 0x1234;
const NAME = "www.example.com";
const STRINGS: readonly DnsType[] = ["A", "AAAA", "CNAME", "NS", "PTR"];

/** The first byte chooses what was asked; the rest is the answer. */
function response(input: Uint8Array<ArrayBuffer>): void {
  const type = DNS_TYPES[(input[0] ?? 0) % DNS_TYPES.length]!;
  const read = decodeResponse(input.subarray(1), ID, NAME, type);
  if (read === undefined || read === "other case") return;
  assert(typeof read.code === "string", "A code");
  assert(read.negativeTtl >= 0 && read.negativeTtl <= 0xffff_ffff, "A negative TTL");
  for (const { name, type: of, ttl, value } of read.answers) {
    assert(name === name.toLowerCase() && (name === "" || !name.endsWith(".")), `A canonical name: ${name}`);
    assert(DNS_TYPES.includes(of), "A known type");
    assert(Number.isInteger(ttl) && ttl >= 0 && ttl <= 0x7fff_ffff, `A TTL of ${ttl}`);
    if (STRINGS.includes(of)) assert(typeof value === "string", `${of} is a string`);
    if (of === "TXT") {
      assert((value as unknown[]).every((part) => typeof part === "string"), "TXT is strings");
    }
    for (const part of of === "TXT" || STRINGS.includes(of) ? [] : Object.values(value as object)) {
      assert(
        ["string", "number", "boolean"].includes(typeof part) && !Number.isNaN(part),
        `${of} has no hole`,
      );
    }
  }
}

/** Names that an application may ask for. */
function query(input: Uint8Array<ArrayBuffer>): void {
  const name = new TextDecoder().decode(input.subarray(1)).replaceAll(/[^\w.-]/g, "");
  const labels = name.replace(/\.$/, "").split(".");
  if (name.length > 253 || labels.some((label) => label.length === 0 || label.length > 63)) return;
  const type = DNS_TYPES[(input[0] ?? 0) % DNS_TYPES.length]!;
  const asked = packet.decode(Buffer.from(encodeQuery(ID, name, type, true)));
  assert(asked.id === ID && asked.questions?.length === 1, "One question");
  assert(
    asked.questions[0]!.name === name.replace(/\.$/, "") && asked.questions[0]!.type === type,
    "As asked",
  );
}

function answer(type: DnsType, data: unknown, more: object = {}): Uint8Array {
  const bytes = packet.encode({
    type: "response",
    id: ID,
    flags: packet.RECURSION_DESIRED,
    questions: [{ name: NAME, type, class: "IN" }],
    answers: [{ name: NAME, type, class: "IN", ttl: 300, data } as packet.Answer],
    ...more,
  });
  return Uint8Array.of(DNS_TYPES.indexOf(type), ...bytes);
}

export const targets: readonly Target[] = [
  {
    name: "dns/response",
    about: "DNS answers: refused or with values of the promised shapes",
    run: response,
    seeds: () => [
      answer("A", "192.0.2.1"),
      answer("AAAA", "2001:db8::1"),
      answer("CAA", { flags: 128, tag: "issue", value: "ca.example" }),
      answer("CNAME", "other.example.com"),
      answer("MX", { preference: 10, exchange: "mail.example.com" }),
      answer("NAPTR", {
        order: 1,
        preference: 2,
        flags: "S",
        services: "SIP+D2U",
        regexp: "",
        replacement: "_sip._udp.example.com",
      }),
      answer("PTR", "host.example.com"),
      answer("SRV", { priority: 1, weight: 2, port: 80, target: "host.example.com" }),
      answer("TXT", ["one", "two"]),
      answer("SOA", {
        mname: "ns.example.com",
        rname: "root.example.com",
        serial: 1,
        refresh: 2,
        retry: 3,
        expire: 4,
        minimum: 5,
      }),
    ],
    mend: (input) => {
      if (input.length > 5) {
        input[1] = ID >> 8;
        input[2] = ID & 255;
        input[3]! |= 0x80;
      }
      return input;
    },
  },
  {
    name: "dns/query",
    about: "questions for any name: read as asked",
    run: query,
    seeds: () => [new TextEncoder().encode("\0www.example.com.")],
  },
];
