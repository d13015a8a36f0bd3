import { bytesText, tableText, timeText } from "./progress.ts";

/** The server process at one moment, all garbage collected. */
export interface Memory {
  rssBytes: number;
  /** Objects and buffers in use. */
  liveBytes: number;
  awake: number;
  asleep: number;
}

/** How long an answer takes, measured one after the other. */
export interface AnswerTimes {
  p50Ms: number;
  p99Ms: number;
}

/** What came of it; `--json` prints this. */
export interface Results {
  runtime: string;
  link: "unix" | "tun";
  connections: number;
  bytesChecked: number;
  memory: { empty: Memory; awake: Memory; asleep: Memory; restarted: Memory };
  /** All files of the store when the server was killed. */
  diskBytes: number;
  /** The live images among them. */
  imageBytes: number;
  suspendedPerSecond: number;
  /** From the kill to the moment when the new process, started meanwhile, was ready. */
  killToReadyMs: number;
  /** Connections that spoke between the kill and the restart. */
  spokeWhileDead: number;
  answerAwake: AnswerTimes;
  answerAsleep: AnswerTimes;
  broken: number;
  reasons: string[];
}

/** The results as a table for people. */
export function resultLines(results: Results, bold: (text: string) => string): string[] {
  const { connections, memory } = results;
  const count = (value: number): string => value.toLocaleString("en");
  const row = (name: string, at: Memory, base?: Memory): string[] => [
    name,
    count(at.awake),
    count(at.asleep),
    bytesText(at.liveBytes),
    base === undefined ? "" : bytesText((at.liveBytes - base.liveBytes) / connections),
    bytesText(at.rssBytes),
  ];
  const [head, ...rows] = tableText([
    ["Server process", "awake", "asleep", "live memory", "per connection", "RSS"],
    row("before", memory.empty),
    row("all awake", memory.awake, memory.empty),
    row("all asleep", memory.asleep, memory.empty),
    row("after kill -9 and restart", memory.restarted),
  ]);
  const times = ({ p50Ms, p99Ms }: AnswerTimes): string => `p50 ${timeText(p50Ms)}, p99 ${timeText(p99Ms)}`;
  const facts = [
    ["Connections", count(connections)],
    ["Bytes checked", count(results.bytesChecked) + (results.broken === 0 ? ", every one of them" : "")],
    [
      "On disk",
      `${bytesText(results.diskBytes)}, ${bytesText(results.imageBytes / connections)} per connection`,
    ],
    ["Suspended", `${count(Math.round(results.suspendedPerSecond))} connections per second`],
    ["From kill to ready", timeText(results.killToReadyMs)],
    ["Answer, awake", times(results.answerAwake)],
    ["Answer, asleep until then", times(results.answerAsleep)],
    ["Spoke while it was dead", `${count(results.spokeWhileDead)}, answered after the restart`],
    ["Broken connections", count(results.broken)],
  ] as const;
  const lines = facts.map(([name, value]) => `  ${name.padEnd(28)}${value}`);
  const reasons = results.reasons.map((reason) => `  - ${reason}`);
  return [bold(head!), ...rows, "", ...lines.slice(0, -1), bold(lines.at(-1)!), ...reasons];
}
