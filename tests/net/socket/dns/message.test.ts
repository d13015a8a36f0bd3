import { Buffer } from "node:buffer";
import packet from "dns-packet";
import { expect, test } from "vitest";
import { Prng } from "../../../../base/random.ts";
import { decodeResponse, encodeQuery } from "../../../../net/socket/dns/codec.ts";
import { canonical, DNS_TYPES } from "../../../../net/socket/dns/message.ts";
import { parseIpv4 } from "../../../../net/wire/address.ts";

const response = (answers: packet.Answer[]): Uint8Array =>
  Uint8Array.from(packet.encode({
    type: "response",
    id: 7,
    questions: [{ name: "x.test", type: "A", class: "IN" }],
    answers,
  }));

test("a query asks for recursion, one name and answers of 1,232 bytes", () => {
  const query = packet.decode(Buffer.from(encodeQuery(0xfedc, "X.test", "MX", true)));
  expect(query).toMatchObject({
    id: 0xfedc,
    type: "query",
    flag_rd: true,
    questions: [{ name: "X.test", type: "MX" }],
  });
  expect(query.additionals).toMatchObject([{ type: "OPT", udpPayloadSize: 1_232 }]);
  expect(encodeQuery(1, "x.test", "A", false).length).toBe(12 + 8 + 4);
});

test("every truncation of a response is refused, and random changes crash nothing and make no false address", () => {
  const whole = response([
    { type: "A", name: "x.test", data: "192.0.2.1", ttl: 1 },
    { type: "TXT", name: "x.test", data: ["some", "text"], ttl: 1 },
    { type: "MX", name: "x.test", data: { preference: 1, exchange: "mail.x.test" }, ttl: 1 },
    { type: "SOA", name: "x.test", data: { mname: "ns.x.test", rname: "a.x.test" }, ttl: 1 },
    { type: "CAA", name: "x.test", data: { flags: 0, tag: "issue", value: "ca.test" }, ttl: 1 },
  ]);
  for (let end = 0; end < whole.length; end++) {
    expect(decodeResponse(whole.subarray(0, end), 7, "x.test", "A"), `${end}`).toBeUndefined();
  }
  expect(decodeResponse(whole, 7, "x.test", "A")).toMatchObject({ code: "NOERROR", truncated: false });
  const prng = new Prng(4);
  for (let count = 0; count < 5_000; count++) {
    const bytes = whole.slice();
    for (let flips = prng.between(1, 6); flips > 0; flips--) {
      bytes[prng.below(bytes.length)] = prng.below(256);
    }
    const read = decodeResponse(bytes, 7, "x.test", "A");
    if (read === undefined || read === "other case") continue;
    for (const { type, value } of read.answers) {
      expect(DNS_TYPES).toContain(type);
      if (type === "A") expect(parseIpv4(value as string)).toBeDefined();
    }
  }
});

test("only a response to this very question counts; another case is told apart", () => {
  const bytes = response([{ type: "A", name: "x.test", data: "192.0.2.1", ttl: 2 ** 31 }]);
  expect(decodeResponse(bytes, 8, "x.test", "A")).toBeUndefined();
  expect(decodeResponse(bytes, 7, "y.test", "A")).toBeUndefined();
  expect(decodeResponse(bytes, 7, "x.test", "AAAA")).toBeUndefined();
  expect(decodeResponse(bytes, 7, "X.test", "A")).toBe("other case");
  const read = decodeResponse(bytes, 7, "x.test", "A");
  expect(read).toMatchObject({ answers: [{ name: "x.test", ttl: 0 }] }); // RFC 2181 section 8
  expect(canonical("X.Test.")).toBe("x.test");
});
