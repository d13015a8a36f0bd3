import type { ControlClient } from "../../checkpoint/control/client.ts";
import type { HostStatus, Took } from "../../checkpoint/control/status.ts";
import { readArguments, wholeNumber } from "../arguments.ts";
import { paint } from "../color.ts";
import type { Command, Terminal } from "../command.ts";
import { CONTROL_EXITS, CONTROL_FOLDER, UntilEnded, withHost } from "../control.ts";
import { bytesText, secondsText } from "../units.ts";

const HELP = `\
Shows what a running host does, again and again: connections awake and asleep,
suspends and wakes per second and how long they take, memory, store, traffic,
drops by reason, the firewall. On a screen it stays in place, else a line each.

  torpor top FOLDER [options]

  --interval MS   how often (default 1000)
  --count N       end after so many; else ^C ends it
  --json          one object each time, with everything
  --help          print this

  torpor top ./connections
  torpor top ./connections --count 1
  torpor top ./connections --json | jq .connections.asleep

${CONTROL_FOLDER}
${CONTROL_EXITS}`;

/** `torpor top`. */
export const top: Command = {
  name: "top",
  summary: "shows live what a running host does",
  help: HELP,
  run(args: string[], terminal: Terminal): Promise<number> {
    const { json, positionals: [folder], values } = readArguments(args, {
      interval: { type: "string", default: "1000" },
      count: { type: "string" },
    });
    const intervalMs = wholeNumber("interval", values.interval, 50, 3_600_000);
    const count = values.count === undefined ? Infinity : wholeNumber("count", values.count, 1, 2 ** 31);
    return withHost(folder, "top", terminal, (client) => {
      const show = json
        ? (status: HostStatus) => terminal.out(`${JSON.stringify(status)}\n`)
        : terminal.screen
        ? onScreen(terminal)
        : inLines(terminal);
      return watch(client, intervalMs, count, show);
    });
  },
};

type Show = (status: HostStatus, before: HostStatus) => void;

async function watch(client: ControlClient, intervalMs: number, count: number, show: Show): Promise<void> {
  let wakeUp = (): void => {};
  using until = new UntilEnded(() => wakeUp());
  let before = await client.status();
  for (let shown = 0; shown < count && !until.over; shown++) {
    if (shown > 0 || count > 1) {
      await new Promise<void>((resolve) => {
        wakeUp = resolve;
        setTimeout(resolve, shown === 0 ? Math.min(intervalMs, 200) : intervalMs);
      });
      if (until.over) return;
    }
    const status = await client.status();
    show(status, before);
    before = status;
  }
}

function perSecond(now: number, before: number, status: HostStatus, last: HostStatus): string {
  const seconds = Math.max(0.001, (status.nowMs - last.nowMs) / 1_000);
  return Math.round(Math.max(0, now - before) / seconds).toLocaleString("en");
}

function inLines(terminal: Terminal): Show {
  return (status, before) => {
    const { awake, asleep, waking } = status.connections;
    terminal.out(
      `${new Date(status.nowMs).toISOString()} awake ${awake} asleep ${asleep} waking ${waking}` +
        ` suspends/s ${perSecond(status.suspends, before.suspends, status, before)}` +
        ` restores/s ${perSecond(status.restores, before.restores, status, before)}` +
        ` memory ${bytesText(status.memory.rssBytes)} store ${bytesText(status.store.bytes)}\n`,
    );
  };
}

const BAR = 40;

function onScreen(terminal: Terminal): Show {
  return (status, before) => {
    const lines = screenOf(status, before, terminal).map((line) => `${line}\x1b[K`);
    terminal.out(`\x1b[?7l\x1b[H${lines.join("\n")}\n\x1b[J\x1b[?7h`); // long lines are cut, not wrapped
  };
}

/** The screen of `torpor top`, line by line. */
export function screenOf(
  status: HostStatus,
  before: HostStatus,
  terminal: Pick<Terminal, "color">,
): string[] {
  const { connections: { awake, asleep, waking }, wakes, memory, store } = status;
  const all = awake + asleep + waking;
  const bar = (count: number): string => {
    const length = all === 0 ? 0 : Math.max(count > 0 ? 1 : 0, Math.round(BAR * count / all));
    return "█".repeat(length).padEnd(BAR, "·");
  };
  const rate = (of: "suspends" | "restores"): string => perSecond(status[of], before[of], status, before);
  const took = ({ count, p50Seconds, p99Seconds }: Took): string =>
    count === 0 ? "" : `half within ${secondsText(p50Seconds)}, 99% within ${secondsText(p99Seconds)}`;
  const number = (value: number): string => value.toLocaleString("en").padStart(12);
  const head = `${status.runtime}, process ${status.pid}, up ${secondsText(status.upSeconds)}`;
  const lines = [
    `${paint(terminal, "bold", "torpor top")}  ${paint(terminal, "dim", head)}`,
    "",
    `awake    ${number(awake)}  ${paint(terminal, "green", bar(awake))}`,
    `asleep   ${number(asleep)}  ${paint(terminal, "cyan", bar(asleep))}`,
    `waking   ${number(waking)}  ${paint(terminal, "yellow", bar(waking))}`,
    "",
    `suspends ${number(status.suspends)}  ${rate("suspends")}/s  ${took(status.suspendTook)}`,
    `restores ${number(status.restores)}  ${rate("restores")}/s  ${took(status.restoreTook)}`,
    `woken by      packets ${wakes.packet}, timers ${wakes.timer}, the application ${wakes.application}`,
    `memory   ${bytesText(memory.rssBytes).padStart(12)}  heap ${bytesText(memory.heapBytes)}`,
    `store    ${bytesText(store.bytes).padStart(12)}  live ${bytesText(store.bytesLive)}, ` +
    `${store.records.toLocaleString("en")} records`,
    "",
  ];
  for (const [index, { name, framesIn, framesOut, bytesIn, bytesOut }] of status.interfaces.entries()) {
    const last = before.interfaces[index]!;
    const of = (now: number, then: number): string => perSecond(now, then, status, before);
    lines.push(
      `${name.padEnd(8)} in ${of(framesIn, last.framesIn)} packets/s, ${bytesText(bytesIn)}; ` +
        `out ${of(framesOut, last.framesOut)} packets/s, ${bytesText(bytesOut)}`,
    );
  }
  const most = (entries: [string, number][]): string =>
    entries.filter(([, count]) => count > 0).sort(([, a], [, b]) => b - a).slice(0, 5).map(([name, count]) =>
      `${name} ${count.toLocaleString("en")}`
    ).join(", ") || "none";
  lines.push(`drops    ${most(Object.entries(status.drops))}`);
  if (status.firewall !== undefined) {
    lines.push(`firewall ${most(status.firewall.map(({ rule, packets }) => [`rule ${rule}`, packets]))}`);
  }
  return lines;
}
