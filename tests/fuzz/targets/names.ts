import { assert } from "../../../base/assert.ts";
import { FIRST_BYTES_MAX, type FirstBytes, readFirstBytes } from "../../../net/firewall/names/first_bytes.ts";
import { parseNamePattern } from "../../../net/firewall/names/pattern.ts";
import type { Target } from "../target.ts";

/**
 * The first bytes of a flow that come in two pieces, cut where the first byte says: the second time the same is found as in one
 * piece, what has been found does not change, and a name is one that a rule may have.
 */
function cut(input: Uint8Array): void {
  const bytes = input.subarray(1, 1 + FIRST_BYTES_MAX);
  const at = (input[0] ?? 0) % (bytes.length + 1);
  const whole = readFirstBytes(bytes, bytes.length, 0);
  const first = readFirstBytes(bytes, at, 0);
  const second = readFirstBytes(bytes, bytes.length, at);
  const same = (one: FirstBytes, other: FirstBytes): boolean => JSON.stringify(one) === JSON.stringify(other);
  if (first.kind !== "pending") assert(same(first, whole), "What was found stays");
  else assert(same(second, whole), "In two pieces the same is found");
  if (whole.kind !== "tls" && whole.kind !== "http") return;
  assert(whole.name === "" || parseNamePattern(whole.name) === whole.name, `"${whole.name}" is a name`);
}

const HTTP = "GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n";
/** A ClientHello for a.example, in two records. */
const HELLO = Uint8Array.of(
  ...[22, 3, 1, 0, 10, 1, 0, 0, 61, 3, 3, 0, 0, 0, 0],
  ...[22, 3, 1, 0, 55, ...new Array<number>(28).fill(7), 0, 0, 2, 19, 1, 1, 0],
  ...[0, 18, 0, 0, 0, 14, 0, 12, 0, 0, 9, ...new TextEncoder().encode("a.example")],
);

export const targets: readonly Target[] = [
  {
    name: "names/first_bytes",
    about: "what a flow says first, TLS or HTTP: cut anywhere the same name, and nothing but a name",
    run: cut,
    seeds: () => [Uint8Array.of(9, ...new TextEncoder().encode(HTTP)), Uint8Array.of(30, ...HELLO)],
    dictionary: [HTTP, "\r\n", "Host:", "CONNECT ", "\r\n\r\n", HELLO, Uint8Array.of(22, 3, 1, 0)],
  },
];
