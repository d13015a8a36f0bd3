import { SECONDS_BOUNDS } from "../../base/histogram.ts";
import type { SleepingHost } from "../sleeping_host.ts";
import { FAMILIES } from "./families.ts";

type Attributes = Record<string, string | number>;

/** What is used of a `Meter` of `@opentelemetry/api`. */
export interface TelemetryMeter {
  /** As the API's. */
  createObservableCounter(name: string, options: { unit: string; description: string }): object;
  /** As the API's. */
  createObservableUpDownCounter(name: string, options: { unit: string; description: string }): object;
  /** As the API's. */
  createObservableGauge(name: string, options: { unit: string; description: string }): object;
  /** As the API's. */
  createHistogram(
    name: string,
    options: { unit: string; description: string; advice: { explicitBucketBoundaries: number[] } },
  ): { record(value: number, attributes?: Record<string, string | number>): void };
  /** As the API's. */
  addBatchObservableCallback(
    callback: (result: {
      observe(of: never, value: number, attributes: Record<string, string | number>): void;
    }) => void,
    instruments: never[],
  ): void;
  /** As the API's. */
  removeBatchObservableCallback(
    callback: (result: {
      observe(of: never, value: number, attributes: Record<string, string | number>): void;
    }) => void,
    instruments: never[],
  ): void;
}

/** What is used of a `Tracer` of `@opentelemetry/api`. */
export interface TelemetryTracer {
  /** As the API's. */
  startSpan(
    name: string,
    options: { startTime: number; attributes: Record<string, string | number> },
  ): {
    /** As the API's. */
    end(endTime: number): void;
    /** As the API's: 2 is an error. */
    setStatus?(status: { code: number; message?: string }): unknown;
    /** As the API's. */
    recordException?(exception: Error, time?: number): void;
  };
}

/** `SpanStatusCode.ERROR` of `@opentelemetry/api`. */
const STATUS_ERROR = 2;

/** Where a host's numbers and spans go: what an application has from `@opentelemetry/api`. */
export interface Telemetry {
  /** Gets the counters, when its reader asks, and how long each suspend and restore took. */
  readonly meter?: TelemetryMeter;
  /** Gets a span for each suspend, each restore and each connection that is lost. */
  readonly tracer?: TelemetryTracer;
}

/**
 * Tells OpenTelemetry what {@linkcode metricsText} tells Prometheus, under names of its conventions, and a span for each
 * connection that fell asleep (`torpor.suspend`) or woke (`torpor.restore`), or whose image could not be read (`torpor.lost`,
 * an error). Nothing of it is needed here: the application has
 * the API, and an SDK if anybody is to hear of it; on Deno `OTEL_DENO=true` is one.
 *
 * @returns How to stop.
 * @example
 * ```ts ignore
 * import { metrics, trace } from "@opentelemetry/api";
 * const stop = openTelemetry(host, { meter: metrics.getMeter("torpor"), tracer: trace.getTracer("torpor") });
 * ```
 */
export function openTelemetry(host: SleepingHost, { meter, tracer }: Telemetry): () => void {
  const stops = [
    ...(meter === undefined ? [] : [tellCounters(host, meter), tellDurations(host, meter)]),
    ...(tracer === undefined ? [] : [tellSpans(host, tracer)]),
  ];
  return () => stops.splice(0).forEach((stop) => stop());
}

function tellCounters(host: SleepingHost, meter: TelemetryMeter): () => void {
  const observed = FAMILIES.map((family) => {
    const { otel, unit, help: description, kind } = family;
    const options = { unit, description };
    const instrument = kind === "counter"
      ? meter.createObservableCounter(otel, options)
      : kind === "sum"
      ? meter.createObservableUpDownCounter(otel, options)
      : meter.createObservableGauge(otel, options);
    return { family, instrument };
  });
  const callback = (result: { observe(of: never, value: number, attributes: Attributes): void }): void => {
    for (const { family: { attributes, read }, instrument } of observed) {
      for (const [labels, value] of read(host)) {
        const named: Attributes = {};
        for (const [label, text] of Object.entries(labels)) named[attributes[label]!] = wordOf(label, text);
        result.observe(instrument as never, value, named);
      }
    }
  };
  const instruments = observed.map(({ instrument }) => instrument) as never[];
  meter.addBatchObservableCallback(callback, instruments);
  return () => meter.removeBatchObservableCallback(callback, instruments);
}

/** OpenTelemetry's words for directions (`network.io.direction`). */
function wordOf(label: string, text: string | number): string | number {
  if (label !== "direction") return text;
  return text === "in" ? "receive" : "transmit";
}

function tellDurations(host: SleepingHost, meter: TelemetryMeter): () => void {
  const options = (description: string) => ({
    unit: "s",
    description,
    advice: { explicitBucketBoundaries: [...SECONDS_BOUNDS] },
  });
  const suspends = meter.createHistogram(
    "torpor.suspend.duration",
    options("From a connection's freezing until its image was durable."),
  );
  const restores = meter.createHistogram(
    "torpor.restore.duration",
    options("From the first wish until a connection was awake."),
  );
  return listen(
    host,
    ({ tookMs }) => suspends.record(tookMs / 1_000),
    ({ reason, tookMs }) => {
      if (tookMs !== undefined) restores.record(tookMs / 1_000, { "torpor.wake.reason": reason! });
    },
  );
}

function tellSpans(host: SleepingHost, tracer: TelemetryTracer): () => void {
  const tell = (name: string, id: string, tookMs: number, attributes: Attributes): void => {
    const endTime = Date.now();
    const span = tracer.startSpan(name, {
      startTime: endTime - tookMs,
      attributes: { ...endsOf(id), ...attributes },
    });
    span.end(endTime);
  };
  const lost = ({ id, error }: Heard<"seenLost">): void => {
    const nowMs = Date.now();
    const attributes = { ...endsOf(id), "error.type": error.name };
    const span = tracer.startSpan("torpor.lost", { startTime: nowMs, attributes });
    span.recordException?.(error, nowMs);
    span.setStatus?.({ code: STATUS_ERROR, message: error.message });
    span.end(nowMs);
  };
  host.sleeper.on("seenLost", lost);
  const stop = listen(
    host,
    ({ id, imageBytes, tookMs }) => tell("torpor.suspend", id, tookMs, { "torpor.image.size": imageBytes }),
    ({ id, reason, tookMs = 0 }) =>
      tell("torpor.restore", id, tookMs, reason === undefined ? {} : { "torpor.wake.reason": reason }),
  );
  return () => {
    stop();
    host.sleeper.off("seenLost", lost);
  };
}

type Heard<E extends "suspended" | "restored" | "seenLost"> = Parameters<
  import("../sleep/types.ts").SleeperEvents[E]
>[0];

function listen(
  { sleeper }: SleepingHost,
  suspended: (event: Heard<"suspended">) => void,
  restored: (event: Heard<"restored">) => void,
): () => void {
  sleeper.on("suspended", suspended).on("restored", restored);
  return () => void sleeper.off("suspended", suspended).off("restored", restored);
}

/** A connection's name as the attributes of its ends. */
function endsOf(id: string): Attributes {
  const ends = /^\[?([^\]]+?)\]?:(\d+)-\[?([^\]]+?)\]?:(\d+)$/.exec(id);
  if (ends === null) return {};
  const [, local, localPort, peer, peerPort] = ends;
  return {
    "network.transport": "tcp",
    "network.type": peer!.includes(":") ? "ipv6" : "ipv4",
    "network.local.address": local!,
    "network.local.port": Number(localPort),
    "network.peer.address": peer!,
    "network.peer.port": Number(peerPort),
  };
}
