import {
  AggregationTemporality,
  DataPointType,
  InMemoryMetricExporter,
  MeterProvider,
  type MetricData,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-base";
import { SpanStatusCode } from "@opentelemetry/api";
import { expect, test } from "vitest";
import { metricsText } from "../../checkpoint/metrics.ts";
import { FAMILIES } from "../../checkpoint/telemetry/families.ts";
import { openTelemetry } from "../../checkpoint/telemetry/open_telemetry.ts";
import { Firewall } from "../../net/firewall/firewall.ts";
import { readTextRules } from "../../net/firewall/nft/text/read.ts";
import { sleepyPair } from "../dropin/world.ts";
import { SleepWorld } from "./sleep_world.ts";

/** A host, and OpenTelemetry's own SDK that listens to it. */
async function measured() {
  const { server, client, sleep } = sleepyPair();
  server.stack.firewall = new Firewall(
    { rules: [{ protocol: "tcp", destinationPort: 7, action: "accept" }] },
    ["net0"],
  );
  server.setRules(readTextRules(
    `table ip t { chain c { type filter hook input priority 0; ct state new log prefix "new " counter; }; }`,
  ));
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 });
  const meters = new MeterProvider({ readers: [reader] });
  const spans = new InMemorySpanExporter();
  const tracers = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] });
  const stop = openTelemetry(server, {
    meter: meters.getMeter("torpor"),
    tracer: tracers.getTracer("torpor"),
  });
  server.serve({ port: 7, data: (connection, bytes) => void connection.write(bytes) });
  const conn = await client.connect({ hostname: "10.0.0.1", port: 7 });
  const speak = async (): Promise<void> => {
    await conn.write(Uint8Array.of(1, 2, 3));
    await conn.read(new Uint8Array(3));
  };
  const read = async (): Promise<Map<string, MetricData>> => {
    exporter.reset();
    await reader.forceFlush();
    const all = exporter.getMetrics().flatMap(({ scopeMetrics }) =>
      scopeMetrics.flatMap(({ metrics }) => metrics)
    );
    return new Map(all.map((metric) => [metric.descriptor.name, metric]));
  };
  const refused = () => client.connect({ hostname: "10.0.0.1", port: 81 });
  return {
    server,
    sleep,
    speak,
    refused,
    read,
    spans,
    stop,
    port: conn.localAddr.port,
    done: () => meters.shutdown(),
  };
}

test("OpenTelemetry's SDK reads every family, with the values that Prometheus reads", async () => {
  const { server, sleep, speak, refused, read, done } = await measured();
  await speak();
  await sleep();
  await speak();
  await expect(refused()).rejects.toThrow("refused"); // a packet that is dropped
  let text: string, metrics: Map<string, MetricData>;
  do { // until nothing is under way any more
    text = metricsText(server);
    metrics = await read();
  } while (metricsText(server) !== text);
  const page = text.split("\n");
  for (const { name, otel, unit, attributes } of FAMILIES) {
    const metric = metrics.get(otel);
    expect(metric?.descriptor.unit, otel).toBe(unit);
    const samples = page.filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
    expect(metric!.dataPoints.map(({ value }) => value).sort(), otel).toEqual(
      samples.map((line) => Number(line.split(" ").at(-1))).sort(),
    );
    for (const { attributes: named } of metric!.dataPoints) {
      expect(Object.keys(named).sort(), otel).toEqual(Object.values(attributes).sort());
    }
  }
  const link = metrics.get("torpor.link.io")!.dataPoints.map(({ attributes }) =>
    attributes["network.io.direction"]
  );
  expect(link).toEqual(["receive", "transmit"]);
  await done();
});

test("each suspend and restore is a value of a histogram, and a span with its ends; then it can be stopped", async () => {
  const { server, sleep, speak, read, spans, stop, port, done } = await measured();
  await speak();
  await sleep();
  await speak();
  const { suspends, restores } = server.sleeper.stats;
  const metrics = await read();
  for (
    const [name, count] of [["torpor.suspend.duration", suspends], [
      "torpor.restore.duration",
      restores,
    ]] as const
  ) {
    const metric = metrics.get(name)!;
    expect(metric.descriptor.unit).toBe("s");
    expect(metric.dataPointType).toBe(DataPointType.HISTOGRAM);
    const counts = metric.dataPoints.map(({ value }) => (value as { count: number }).count);
    expect(counts.reduce((sum, each) => sum + each, 0)).toBe(count);
  }
  const finished = spans.getFinishedSpans();
  expect(finished.filter(({ name }) => name === "torpor.suspend")).toHaveLength(suspends);
  expect(finished.filter(({ name }) => name === "torpor.restore")).toHaveLength(restores);
  expect(finished[0]!.attributes).toEqual({
    "network.transport": "tcp",
    "network.type": "ipv4",
    "network.local.address": "10.0.0.1",
    "network.local.port": 7,
    "network.peer.address": "10.0.0.2",
    "network.peer.port": port,
    "torpor.image.size": expect.any(Number),
  });
  expect(finished[1]!.attributes["torpor.wake.reason"]).toMatch(/^(packet|timer)$/);
  stop();
  const before = spans.getFinishedSpans().length;
  await sleep();
  expect(spans.getFinishedSpans()).toHaveLength(before);
  await done();
});

test("a connection whose image cannot be read is a span that has failed, and still an error where nobody listens", async () => {
  const world = new SleepWorld();
  const first = world.start();
  first.host.serve({ port: 7, data: (connection, bytes) => void connection.write(bytes) });
  const opening = world.client.connect({ hostname: "10.0.0.1", port: 7 });
  await world.clock.advance(100);
  const conn = await opening;
  await world.clock.advance(5_000);
  first.kill();
  const [location] = world.disk.records.keys();
  world.disk.records.get(location!)![40]! ^= 4;
  const { host } = world.start();
  host.sleeper.removeAllListeners("lost"); // the world's own
  host.serve({ port: 7, data: () => {} });
  const errors: string[] = [];
  host.sleeper.on("error", ({ message }) => void errors.push(message));
  const spans = new InMemorySpanExporter();
  const tracers = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] });
  const stop = openTelemetry(host, { tracer: tracers.getTracer("torpor") });
  void conn.write(Uint8Array.of(1));
  await world.clock.advance(3_000);
  const [span, ...more] = spans.getFinishedSpans();
  expect([span!.name, more.length, span!.status.code]).toEqual(["torpor.lost", 0, SpanStatusCode.ERROR]);
  expect(span!.attributes).toMatchObject({
    "error.type": "ImageError",
    "network.local.port": 7,
    "network.peer.address": "10.0.0.2",
  });
  expect(span!.events.map(({ name }) => name)).toEqual(["exception"]);
  expect(errors).toEqual([expect.stringContaining("is lost: ")]);
  expect(metricsText(host)).toContain("torpor_lost_total 1\n");
  stop();
  expect(host.sleeper.listenerCount("seenLost")).toBe(0);
});
