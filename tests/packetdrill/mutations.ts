/** A way to spoil one expectation on a line; the line itself when it has no such expectation. */
export type Mutation = readonly [name: string, spoil: (line: string) => string];

const OUTBOUND = /^\s*(?:\*|\+?[\d.]+(?:~\+?[\d.]+)?)\s+>/;
const FLAGS = />( \[[^\]]*\])? ([A-Z]*)\./;
const CALL = /^(\s*[+\d.]+\s+(?:write|read|recv|send)\(.*\) = )(-?\d+)/;

/** Whether a line expects a packet. */
export function isOutbound(line: string): boolean {
  return OUTBOUND.test(line);
}

/** Replaces in a line that expects a packet. */
function packet(pattern: RegExp, spoil: (...groups: string[]) => string): Mutation[1] {
  return (line) => isOutbound(line) ? line.replace(pattern, spoil) : line;
}

function toggled(flag: string): Mutation[1] {
  return packet(FLAGS, (_, ip, flags) => {
    return `>${ip ?? ""} ${flags!.includes(flag) ? flags!.replace(flag, "") : `${flag}${flags}`}.`;
  });
}

export const MUTATIONS: readonly Mutation[] = [
  ["another ack", packet(/\back (\d+)/, (_, ack) => `ack ${Number(ack) + 1}`)],
  [
    "another sequence number",
    packet(
      // Not of a SYN: that number is whatever the script says.
      /(> (?:\[[^\]]*\] )?[A-RT-Z]*\.? +)(\d+):(\d+)\(/,
      (_, start, first, end) => `${start}${Number(first) + 1}:${Number(end) + 1}(`,
    ),
  ],
  [
    "another length",
    packet(
      /(\d+):(\d+)\(([1-9]\d*)\)/,
      (_, first, end, length) => `${first}:${Number(end) - 1}(${Number(length) - 1})`,
    ),
  ],
  ["another window", packet(/\bwin (\d+)/, (_, win) => `win ${win === "0" ? 1 : Number(win) - 1}`)],
  ["another urgent pointer", packet(/\burg (\d+)/, (_, urg) => `urg ${Number(urg) + 1}`)],
  ["another SACK block", packet(/sack (\d+):/, (_, left) => `sack ${Number(left) - 1}:`)],
  ["push or not", toggled("P")],
  ["fin or not", toggled("F")],
  ["no options", packet(/<(?!\.\.\.)[^>]+>$/, () => "")],
  ["one option more", packet(/([^>])$/, (_, last) => `${last} <nop,nop,nop,nop>`)],
  ["another option", packet(/\bmss (\d+)/, (_, mss) => `mss ${Number(mss) + 1}`)],
  [
    "later",
    (line) =>
      line.replace(/^(\s*\+)([\d.]+)(?=\s+>)/, (_, plus, time) => `${plus}${Number(time) * 1.3 + 0.01}`),
  ],
  ["another result", (line) => line.replace(CALL, (_, call, result) => `${call}${Number(result) + 1}`)],
  [
    "another errno",
    (line) => line.replace(/= -1 E[A-Z]+/, (text) => text.endsWith("EPIPE") ? "= -1 EBADF" : "= -1 EPIPE"),
  ],
  [
    "another number in a control message",
    (line) =>
      line.replace(/\b((?:ee_\w+|cmsg_data)=)(\d+)/, (_, name, value) => `${name}${Number(value) + 1}`),
  ],
  [
    "another time in a control message",
    (line) => line.replace(/\b(scm_nsec=)(\d+)/, (_, name, value) => `${name}${Number(value) + 50_000_000}`),
  ],
  [
    "another number in code",
    (line) => line.replace(/(%\{.*? == )(\d+)/, (_, code, value) => `${code}${Number(value) + 1}`),
  ],
  ["the opposite in code", (line) => line.includes("%{") ? line.replace(/ == /, " != ") : line],
];
