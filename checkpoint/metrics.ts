import type { Histogram } from "../base/histogram.ts";
import type { SleepingHost } from "./sleeping_host.ts";
import { FAMILIES, type Labels } from "./telemetry/families.ts";

/**
 * A host's counters as a page for Prometheus (text exposition format 0.0.4): connections by state, suspends, restores,
 * wakes by reason and those that wait, how long suspends and restores took, packets and bytes by interface, drops by
 * reason, what TCP has counted, the store, and the firewall's rules. Names are stable; units are in them (`_bytes`,
 * `_seconds`), counters end in `_total`.
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
  const lines: string[] = [];
  for (const { name, help, kind, read } of FAMILIES) {
    const samples = [...read(host)].map(([labels, value]) => `${name}${shownLabels(labels)} ${value}`);
    if (samples.length === 0) continue;
    lines.push(...head(name, help, kind === "counter" ? "counter" : "gauge"), ...samples);
  }
  const { suspendSeconds, restoreSeconds } = host.sleeper;
  lines.push(
    ...histogram(
      "torpor_suspend_duration_seconds",
      "From a connection's freezing until its image was durable.",
      suspendSeconds,
    ),
    ...histogram(
      "torpor_restore_duration_seconds",
      "From the first wish until a connection was awake.",
      restoreSeconds,
    ),
  );
  return `${lines.join("\n")}\n`;
}

function head(name: string, help: string, type: string): string[] {
  return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`];
}

function histogram(name: string, help: string, seconds: Histogram): string[] {
  const counts = seconds.cumulative();
  const bounds = [...seconds.bounds.map(String), "+Inf"];
  return [
    ...head(name, help, "histogram"),
    ...bounds.map((bound, at) => `${name}_bucket${shownLabels({ le: bound })} ${counts[at]}`),
    `${name}_sum ${seconds.sum}`,
    `${name}_count ${seconds.count}`,
  ];
}

function shownLabels(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(String(value))}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function escaped(text: string): string {
  return text.replace(/[\\"\n]/g, (char) => char === "\n" ? "\\n" : `\\${char}`);
}

/** The content type of {@linkcode metricsText}. */
export const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";
