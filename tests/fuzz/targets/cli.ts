import { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import { StringDecoder } from "node:string_decoder";
import { assert } from "../../../base/assert.ts";
import { answersOf } from "../../../checkpoint/control/answers.ts";
import { ControlError } from "../../../checkpoint/control/control_error.ts";
import { LineSocket } from "../../../checkpoint/handover/line_socket.ts";
import { InputError, UsageError } from "../../../cli/command.ts";
import { readQuestion } from "../../../cli/firewall/broker.ts";
import { globOf } from "../../../cli/firewall/glob.ts";
import { parsePacketText } from "../../../cli/firewall/packet_text.ts";
import { ProgramRules } from "../../../cli/firewall/program_rules.ts";
import { keysIn } from "../../../cli/patch/keys_file.ts";
import { readTextRules } from "../../../net/firewall/nft/text/read.ts";
import { obviousChecksum } from "../../net/tcp/checker.ts";
import { Dice } from "../dice.ts";
import { orRefuses } from "../refuses.ts";
import type { Target } from "../target.ts";

const textOf = (input: Uint8Array): string => new TextDecoder().decode(input);
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

/** A packet in words is refused, or a packet of the length that it says, with its header's checksum. */
function packet(input: Uint8Array): void {
  const words = textOf(input);
  const { value: made, error } = orRefuses(UsageError, () => parsePacketText(words));
  if (made === undefined) return assert(error.message.startsWith("--packet"), error.message);
  if (words.trim().startsWith("hex")) return assert(made.length > 0, "Bytes are bytes");
  const six = made[0]! >> 4 === 6;
  assert(six || made[0] === 0x45, "A packet of IP");
  const length = six ? 40 + made[4]! * 256 + made[5]! : made[2]! * 256 + made[3]!;
  assert(length === made.length, `${made.length} bytes that say that they are ${length}`);
  assert(six || obviousChecksum(made.subarray(0, 20)) === 0, "The header's checksum is right");
}

const RULES = readTextRules(`table inet t {
  set api { type ipv4_addr; flags timeout; comment "dns-names: a.example *.b.example"; }
  chain o { type filter hook output priority 0; policy drop; ip daddr @api tcp dport 443 accept; ip6 daddr fc00::/7 accept; }
  chain i { type filter hook input priority 0; policy drop; tcp dport 80 accept; }
}`);

/** What a program of Deno's asks: refused, or allowed or not, and why. */
async function question(input: Uint8Array): Promise<void> {
  const { value: asked } = orRefuses(TypeError, () => readQuestion(textOf(input)));
  const target = asked === undefined ? textOf(input) : asked.value;
  if (target === null) return;
  const addresses = ["192.0.2.1", "fc00::1"];
  const rules = new ProgramRules(
    RULES,
    () => Promise.resolve(addresses.slice(0, target.length % 3)),
    () => 0,
  );
  const { allowed, reason } = await rules.ask(target);
  assert(typeof allowed === "boolean" && reason.length > 0, "Decided, with a reason");
}

/** Files that people write: keys, and the patterns of names that rules include. */
function file(input: Uint8Array): void {
  const [text = "", name = ""] = textOf(input).split("\0");
  const { value: keys } = orRefuses(InputError, () => keysIn("f", text));
  if (keys !== undefined) assert(typeof keys.publicKey === "string", "Keys are text");
  const { value: pattern } = orRefuses(InputError, () => globOf(text));
  if (pattern === undefined) return;
  if (!/[*?[\\]/.test(text)) assert(pattern.test(text), "What is no pattern is its own name");
  assert(!name.includes("/") || text.includes("/") || !pattern.test(name), "Nothing stands for a slash");
}

/** The input in pieces; the first bytes say how long they are. */
function pieces(input: Uint8Array<ArrayBuffer>): { whole: Uint8Array; cut: Uint8Array[] } {
  const dice = new Dice(input);
  const sizes = [1 + dice.byte(), 1 + dice.below(16), 1];
  const whole = dice.rest();
  const cut: Uint8Array[] = [];
  for (let at = 0; at < whole.length; at += cut.at(-1)!.length) {
    cut.push(whole.subarray(at, at + sizes[cut.length % sizes.length]!));
  }
  return { whole, cut };
}

/** As `node:net` gives text to whoever has set an encoding. */
class FakeSocket extends EventEmitter {
  readonly #decoder = new StringDecoder("utf8");
  setEncoding(): void {}
  say(piece: Uint8Array): void {
    this.emit("data", this.#decoder.write(piece));
  }
  destroy(error: Error): void {
    this.emit("error", error);
  }
}

/** Lines over a socket, cut anywhere: the same lines. */
async function lines(input: Uint8Array<ArrayBuffer>): Promise<void> {
  const { whole, cut } = pieces(input);
  const fake = new FakeSocket();
  const socket = new LineSocket(fake as unknown as Socket);
  for (const piece of cut) fake.say(piece);
  fake.emit("close");
  const want = new StringDecoder("utf8").write(whole as never).split("\n").slice(0, -1);
  for (const line of want) assert(await socket.next() === line, `The line "${line}"`);
  assert(await socket.next() === undefined, "And then no other");
}

/** Answers of a host, cut anywhere: the same ones, or refused at the same place. */
async function answers(input: Uint8Array<ArrayBuffer>): Promise<void> {
  const { whole, cut } = pieces(input);
  const read = async (parts: readonly Uint8Array[]): Promise<string> => {
    const found: unknown[] = [];
    try {
      for await (const answer of answersOf(stream(parts))) found.push(answer);
    } catch (error) {
      if (!(error instanceof ControlError)) throw error;
      found.push(error.message);
    }
    return JSON.stringify(found);
  };
  assert(await read(cut) === await read([whole]), "In pieces as whole");
}

async function* stream(parts: readonly Uint8Array[]): AsyncGenerator<Uint8Array, void, void> {
  yield* parts;
}

export const targets: readonly Target[] = [
  {
    name: "text/packet_words",
    about: "a packet in words: refused, or a packet of its length with its checksum",
    run: packet,
    bytesMax: 200,
    seeds: () =>
      [
        "tcp 10.9.0.4:4000 > 10.7.0.1:80 flags syn,ack seq 1 ack 2",
        "udp [2001:db8::1]:53 > [2001:db8::2]:53 length 100 ttl 1 dscp 63",
        "icmp 10.0.0.1 > 10.0.0.2 type echo-request code 0 id 7",
        "47 10.0.0.1 > 10.0.0.2 length 9",
        "hex 4500 0014",
      ].map(bytesOf),
    dictionary: [
      "icmpv6 ",
      "type ",
      "nd-neighbor-solicit",
      "flags ",
      " > ",
      "length 60000",
      "255",
      "-1",
      "1e3",
    ],
    allocationMax: (length) => (1 << 20) + 512 * length,
  },
  {
    name: "text/question",
    about: "what a program of Deno's asks before it connects: refused, or decided with a reason",
    run: question,
    bytesMax: 200,
    seeds: () =>
      [
        '{"v":1,"id":1,"pid":2,"permission":"net","value":"a.example:443"}',
        '{"v":1,"id":1,"pid":2,"permission":"net","value":null}',
        "[fc00::1]:80",
        "0.0.0.0:80",
        "x.b.example",
      ].map(bytesOf),
    dictionary: ["[", "]", ":0", "::", "65536", "null", '"value"', '"v":1'],
    allocationMax: (length) => (1 << 22) + 512 * length,
  },
  {
    name: "text/file",
    about: "keys of patches, and patterns that rules include: refused with a typed error, or what they say",
    run: file,
    bytesMax: 200,
    seeds: () =>
      ['{"privateKey":"a","publicKey":"b"}', "part-*.nft\0part-1.nft", "[!a-c]?[]x]\0dxx", "null"].map(
        bytesOf,
      ),
    dictionary: ["[", "]", "[!", "[]", "*", "?", "\\", "\0", "null", "-"],
  },
  {
    name: "text/lines",
    about: "lines over a control or handover socket, cut anywhere: the same lines",
    run: lines,
    seeds: () => ["\x03\x02torpor 1\nstop\n", "\x00\x00a\n\n\nb", "\x09\x05\u00e9\n\u{1f600}\n"].map(bytesOf),
    dictionary: ["\n", "\r\n", "\u{1f600}", Uint8Array.of(0xff)],
  },
  {
    name: "text/answers",
    about: "what a control socket answers, cut anywhere: the same answers, or refused at the same place",
    run: answers,
    seeds: () =>
      ['\x03\x02{"ok":true}\n{"rows":[]}\n', '\x01\x01{"error":"no"}\nnull\n', "\x05\x05x\n"].map(bytesOf),
    dictionary: ["\n", "null", "{}", "[]", '{"a":1}\n'],
    allocationMax: (length) => (1 << 18) + 512 * length,
  },
];
