import { tcpStateNames } from "../../net/tcp/tcb.ts";
import { UsageError } from "../command.ts";
import type { Happening } from "./happening.ts";

/** What may be waited for, for `--help`. */
export const CONDITIONS = `\
  step N         the N-th call from outside
  time SECONDS   so long after the beginning
  packet WORDS   a packet of which all words hold: in, out, ip, ip6, arp,
                 tcp, udp, icmp, icmp6, syn, fin, rst, psh, ack, urg,
                 "port N", "host ADDRESS", "length N" (at least), or any
                 other word that stands in its line
  drop [REASON]  a packet is dropped, for that reason: drop TcpChecksum
  state [CONNECTION] STATE
                 a connection gets into a state: state established,
                 state 10.0.0.1:7-10.0.0.2:4000 asleep
  note [TEXT]    a remark of whoever recorded, with that text in it`;

/** Says whether what happens is what is waited for. */
export type Condition = (happening: Happening, startMs: number) => boolean;

const FLAGS: Readonly<Record<string, string>> = {
  syn: "S",
  fin: "F",
  rst: "R",
  psh: "P",
  ack: ".",
  urg: "U",
};
const STATES = [...tcpStateNames.slice(1), "asleep", "waking", "none"];

/** @throws {UsageError} When nobody knows what is meant. */
export function parseCondition(text: string): Condition {
  const [what = "", ...words] = text.trim().split(/\s+/);
  switch (what) {
    case "step":
      return stepCondition(numberOf(text, words));
    case "time":
      return timeCondition(numberOf(text, words));
    case "packet":
      return packetCondition(words);
    case "drop":
      return ({ kind, text: told }) =>
        kind === "verdict" && (words.length === 0 || told === `dropped: ${words[0]}`);
    case "state":
      return stateCondition(text, words);
    case "note":
      return ({ kind, text: told }) => kind === "note" && told.includes(words.join(" "));
    default:
      throw new UsageError(`--until "${text}": need step, time, packet, drop, state or note in front`);
  }
}

function numberOf(text: string, [word]: readonly string[]): number {
  const number = Number(word);
  if (word !== undefined && Number.isFinite(number) && number >= 0) return number;
  throw new UsageError(`--until "${text}": need a number`);
}

function stepCondition(step: number): Condition {
  return (happening) => happening.step >= step;
}

function timeCondition(timeS: number): Condition {
  return ({ timeMs }, startMs) => timeMs - startMs >= timeS * 1000;
}

function stateCondition(text: string, words: readonly string[]): Condition {
  const wanted = words.at(-1)?.toLowerCase();
  const state = STATES.find((each) => each.toLowerCase() === wanted?.replace(/-/g, ""));
  if (state === undefined || words.length > 2) {
    throw new UsageError(`--until "${text}": need a state at its end, one of ${STATES.join(", ")}`);
  }
  const connection = words.length === 2 ? words[0] : undefined;
  return (happening) => {
    if (happening.kind !== "state") return false;
    return happening.state === state && (connection === undefined || happening.connection === connection);
  };
}

/** Words about a packet's printed line, which is tcpdump's. */
function packetCondition(words: readonly string[]): Condition {
  const tests: ((happening: Happening) => boolean)[] = [];
  for (let at = 0; at < words.length; at++) {
    const word = words[at]!;
    const flag = FLAGS[word];
    if (word === "in" || word === "out") tests.push(({ kind }) => kind === word);
    else if (flag !== undefined) {
      tests.push(({ text }) => /Flags \[([^\]]*)\]/.exec(text)?.[1]?.includes(flag) === true);
    } else if (word === "port") tests.push(portTest(words[++at]));
    else if (word === "host") tests.push(hostTest(words[++at] ?? ""));
    else if (word === "length") tests.push(lengthTest(words[++at]));
    else tests.push(protocolTest(word));
  }
  return (happening) => {
    const isPacket = happening.kind === "in" || happening.kind === "out";
    return isPacket && tests.every((test) => test(happening));
  };
}

function portTest(word: string | undefined): (happening: Happening) => boolean {
  const pattern = new RegExp(`\\.${escaped(word ?? "")}(?= > |: )`);
  return ({ text }) => pattern.test(text);
}

function hostTest(word: string): (happening: Happening) => boolean {
  const pattern = new RegExp(`(?:^| )${escaped(word)}(?:\\.\\d+)?(?= > |: |,|$)`);
  return ({ text }) => pattern.test(text);
}

function lengthTest(word: string | undefined): (happening: Happening) => boolean {
  const least = Number(word);
  return ({ frame }) => frame !== undefined && frame.length >= least;
}

function protocolTest(word: string): (happening: Happening) => boolean {
  switch (word) {
    case "ip":
      return ({ text }) => text.startsWith("IP ");
    case "ip6":
      return ({ text }) => text.startsWith("IP6 ");
    case "arp":
      return ({ text }) => text.startsWith("ARP");
    case "tcp":
      return ({ text }) => text.includes("Flags [");
    case "udp":
      return ({ text }) => text.includes(" UDP");
    case "icmp":
      return ({ text }) => text.includes(": ICMP ");
    case "icmp6":
      return ({ text }) => text.includes(": ICMP6");
    default:
      return ({ text }) => text.toLowerCase().includes(word.toLowerCase());
  }
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
