import type { SleepingHost } from "./sleeping_host.ts";

type Labels = Readonly<Record<string, string | number>>;

/** The lines of a Prometheus text page (exposition format 0.0.4). */
class Page {
  readonly #lines: string[] = [];

  /** A number that goes up and down. */
  gauge(name: string, help: string, samples: Iterable<readonly [Labels, number]>): void {
    this.#family(name, help, "gauge", samples);
  }

  /** A number that only goes up; its name ends in `_total`. */
  counter(name: string, help: string, samples: Iterable<readonly [Labels, number]>): void {
    this.#family(name, help, "counter", samples);
  }

  toString(): string {
    return this.#lines.join("\n") + "\n";
  }

  #family(name: string, help: string, type: string, samples: Iterable<readonly [Labels, number]>): void {
    const lines = [...samples].map(([labels, value]) => `${name}${shownLabels(labels)} ${value}`);
    if (lines.length > 0) this.#lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...lines);
  }
}

function shownLabels(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(String(value))}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function escaped(text: string): string {
  return text.replace(/[\\"\n]/g, (char) => char === "\n" ? "\\n" : `\\${char}`);
}

const NONE: Labels = {};

/** Each entry of `of` as a sample with its name as the label. */
function labelled(label: string, of: object): [Labels, number][] {
  return Object.entries(of).map(([name, value]) => [{ [label]: name }, Number(value)]);
}

/**
 * A host's counters as a page for Prometheus (text exposition format 0.0.4): connections by state, suspends, restores and
 * wakes that wait, packets and bytes by interface, drops by reason, what TCP has counted, the store, and the firewall's
 * rules. Names are stable; units are in them (`_bytes`), counters end in `_total`.
 *
 * @example
 * ```ts
 * import { MemoryStore, metricsText, pipe, SleepyHost } from "@torpor/torpor";
 * const [link] = pipe();
 * const host = new SleepyHost({ interfaces: [{ link }], store: new MemoryStore() });
 * // In your server: new Response(metricsText(host), { headers: { "content-type": METRICS_TYPE } })
 * console.log(metricsText(host).split("\n")[0]); // # HELP torpor_connections Connections by what holds them.
 * host.close();
 * ```
 */
export function metricsText(host: SleepingHost): string {
  const page = new Page();
  const { stack, sleeper } = host;
  page.gauge("torpor_connections", "Connections by what holds them.", labelled("state", host.counts));
  const { suspends, restores, waiting, waited } = sleeper.stats;
  page.counter("torpor_suspends_total", "Connections that went to sleep.", [[NONE, suspends]]);
  page.counter("torpor_restores_total", "Connections that woke.", [[NONE, restores]]);
  page.gauge("torpor_wakes_waiting", "Connections that wait for a wake, by budget or disk.", [[
    NONE,
    waiting,
  ]]);
  page.counter("torpor_wakes_waited_total", "Wakes that had to wait for the budget.", [[NONE, waited]]);
  page.gauge("torpor_held_bytes", "Packets kept for connections that wake.", [[
    NONE,
    stack.sleepers.held.bytes,
  ]]);

  const links = host.linkCounters.map((counters, index) =>
    [stack.output.interfaces[index]!.name, counters] as const
  );
  const both = (of: "frames" | "bytes" | "drops"): [Labels, number][] =>
    links.flatMap(([name, counters]): [Labels, number][] => [
      [{ interface: name, direction: "in" }, counters[`${of}In`]],
      [{ interface: name, direction: "out" }, counters[`${of}Out`]],
    ]);
  page.counter("torpor_link_frames_total", "Frames that crossed a link.", both("frames"));
  page.counter("torpor_link_bytes_total", "Bytes that crossed a link.", both("bytes"));
  page.counter("torpor_link_drops_total", "Frames that a link could not carry.", both("drops"));
  page.counter(
    "torpor_drops_total",
    "Packets that went no further.",
    labelled("reason", stack.drops.toJSON()),
  );
  page.counter("torpor_tcp_total", "What TCP has counted.", labelled("event", { ...stack.tcp.counters }));

  const { recordsLive, bytesLive, bytesTotal, segments, syncs, bytesMoved, damaged } = sleeper.store.stats;
  page.gauge("torpor_store_records", "Images that are in force.", [[NONE, recordsLive]]);
  page.gauge("torpor_store_bytes", "Bytes of the store.", [
    [{ of: "live" }, bytesLive],
    [{ of: "all" }, bytesTotal],
  ]);
  page.gauge("torpor_store_segments", "Files of the store.", [[NONE, segments]]);
  page.counter("torpor_store_syncs_total", "Commits to disk.", [[NONE, syncs]]);
  page.counter("torpor_store_moved_bytes_total", "Bytes that cleaning wrote once more.", [[
    NONE,
    bytesMoved,
  ]]);
  page.counter("torpor_store_damaged_total", "Damaged places found.", [[NONE, damaged]]);

  const firewall = stack.firewall?.rules();
  const decided = firewall === undefined ? [] : [
    ...firewall.rules.map((counted, at) => [String(at), counted] as const),
    ...Object.entries(firewall.policy).map(([direction, counted]) =>
      [`policy ${direction}`, counted] as const
    ),
  ];
  const of = (what: "packets" | "bytes"): [Labels, number][] =>
    decided.map(([rule, counted]) => [{ rule }, counted[what]]);
  page.counter("torpor_firewall_packets_total", "Packets that a rule, or a policy, decided.", of("packets"));
  page.counter("torpor_firewall_bytes_total", "Bytes that a rule, or a policy, decided.", of("bytes"));
  return page.toString();
}

/** The content type of {@linkcode metricsText}. */
export const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";
