import type { BaseChain, Family } from "../schema.ts";
import { COMMENT_CHARACTERS_MAX, NAME_CHARACTERS_MAX } from "../words/limits.ts";
import type { At, Source } from "./raw.ts";
import { show } from "./value.ts";

const PRIORITIES = {
  ...{ raw: -300, mangle: -150, dstnat: -100, filter: 0, security: 50, srcnat: 100 },
} as const;

/** Where nft knows only some of these names: elsewhere it wants the number. */
const PRIORITY_HOOKS: Readonly<Record<string, BaseChain["hook"]>> = {
  dstnat: "prerouting",
  srcnat: "postrouting",
};

/** What a base chain's priority may be, either way: beyond it lie defragmentation and connection tracking's end. */
export const PRIORITY_MAX = 0x7fff_ffff;

/** A name of a table, chain, set or object. */
export function checkName(source: Source, name: string, at: At): string {
  if (name.length > NAME_CHARACTERS_MAX) {
    source.fail(at, `A name of ${name.length} characters, expected at most ${NAME_CHARACTERS_MAX}`);
  }
  if (!/^[A-Za-z_][\w/\\.-]*$/.test(name)) {
    source.fail(at, `Found ${show(name)}, expected a name: letters, digits and _ / \\ . - behind a letter`);
  }
  return name;
}

export function checkComment(source: Source, comment: string, at: At): string {
  if (comment.length > COMMENT_CHARACTERS_MAX) {
    source.fail(at, `A comment of ${comment.length} characters, expected at most ${COMMENT_CHARACTERS_MAX}`);
  }
  // nft has no way to write a quote inside quotes.
  if (/["\n\r\0]/.test(comment)) source.fail(at, "A comment has no quotes and no line ends in it");
  return comment;
}

export function checkFamily(source: Source, family: string, at: At): Family {
  if (family === "ip" || family === "ip6" || family === "inet") return family;
  if (family === "arp" || family === "bridge" || family === "netdev") {
    return source.fail(
      at,
      `Tables of family ${family} are not supported: this stack filters IP packets, not frames`,
    );
  }
  return source.fail(at, `Found ${show(family)}, expected ip, ip6 or inet`);
}

export function checkHook(source: Source, hook: string, at: At): BaseChain["hook"] {
  switch (hook) {
    case "prerouting":
    case "input":
    case "forward":
    case "output":
    case "postrouting":
      return hook;
    case "ingress":
    case "egress":
      return source.fail(at, `Hook ${hook} is not supported: this stack filters IP packets, not frames`);
    default:
      return source.fail(
        at,
        `Found ${show(hook)}, expected prerouting, input, forward, output or postrouting`,
      );
  }
}

export function checkChainType(source: Source, type: string, at: At): BaseChain["type"] {
  if (type === "filter" || type === "nat" || type === "route") return type;
  return source.fail(at, `Found ${show(type)}, expected filter, nat or route`);
}

/** The number of a priority's name; undefined for other words. At any hook: people write `dstnat` at output as well. */
export function priorityOf(word: string): number | undefined {
  return Object.hasOwn(PRIORITIES, word) ? PRIORITIES[word as keyof typeof PRIORITIES] : undefined;
}

/** A priority as nft writes it: by a name, and what lies within ten of one by its distance. */
export function priorityText(prio: number, hook: BaseChain["hook"]): string {
  for (const [word, at] of Object.entries(PRIORITIES)) {
    if ((PRIORITY_HOOKS[word] ?? hook) !== hook) continue;
    const distance = prio - at;
    if (distance === 0) return word;
    if (Math.abs(distance) <= 10) return `${word} ${distance < 0 ? "-" : "+"} ${Math.abs(distance)}`;
  }
  return String(prio);
}
