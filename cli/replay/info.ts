import type { CborValue } from "../../checkpoint/image/cbor.ts";
import { shown } from "../../checkpoint/image/explain.ts";
import { CALL_BY_CODE, NEW_STACK } from "../../checkpoint/replay/boundary.ts";
import { fromPlainData } from "../../checkpoint/replay/codecs.ts";
import { EventCode } from "../../checkpoint/replay/event.ts";
import type { ReplayReader } from "../../checkpoint/replay/reader.ts";
import { completeConfig, type TcpConfig } from "../../net/tcp/config.ts";

/** What a recording holds. */
export interface RecordingInfo {
  readonly about: Record<string, unknown>;
  /** Why it ends: closed, limit, or cut at a byte. */
  readonly end: string;
  readonly cutAt: number | undefined;
  readonly segments: number;
  readonly bytes: number;
  readonly events: number;
  readonly startedAtMs: number;
  readonly seconds: number;
  readonly interfaces: readonly string[];
  readonly framesIn: number;
  readonly bytesIn: number;
  readonly framesOut: number;
  readonly bytesOut: number;
  readonly entropyBytes: number;
  readonly notes: number;
  /** Calls from outside, by name. */
  readonly calls: Record<string, number>;
  /** Where the TCP is not configured as it would be today. */
  readonly config: Record<string, unknown>;
}

/** Reads all of a recording, playing nothing. */
export function infoOf(reader: ReplayReader): RecordingInfo {
  let startedAtMs = 0, lastMs = 0, events = 0;
  let framesIn = 0, bytesIn = 0, framesOut = 0, bytesOut = 0, entropyBytes = 0, notes = 0;
  const interfaces: string[] = [];
  const calls: Record<string, number> = {};
  let config: Record<string, unknown> = {};
  for (const { value: [code, first, second] } of reader.events()) {
    events++;
    if (code === EventCode.Drew) entropyBytes += (first as Uint8Array).length;
    if (code === EventCode.Note) notes++;
    if (code === EventCode.Sent) {
      framesOut++;
      bytesOut += (second as Uint8Array).length;
    }
    if (code !== EventCode.Call) continue;
    const args = second as readonly CborValue[];
    if (first === NEW_STACK) {
      const options = fromPlainData(args[0]!) as { nowMs: number; tcp: TcpConfig };
      startedAtMs = lastMs = options.nowMs;
      config = unusual(options.tcp);
      continue;
    }
    const name = CALL_BY_CODE.get(first as number)?.name;
    if (name === undefined) continue;
    calls[name] = (calls[name] ?? 0) + 1;
    if (name === "addInterface") interfaces.push(`${args[0]}: ${args[1]}, MTU ${args[2]}`);
    if (name === "poll") lastMs = args[0] as number;
    if (name !== "receive") continue;
    framesIn++;
    bytesIn += (args[1] as Uint8Array).length;
    lastMs = args[2] as number;
  }
  const { cutAt } = reader;
  return {
    about: Object.fromEntries([...reader.about].map(([name, value]) => [name, fromPlainData(value)])),
    end: cutAt === undefined ? reader.endedBecause ?? "not closed" : `cut short at byte ${cutAt}`,
    cutAt,
    segments: reader.segments,
    bytes: reader.bytesRead,
    events,
    startedAtMs,
    seconds: (lastMs - startedAtMs) / 1000,
    ...{ interfaces, framesIn, bytesIn, framesOut, bytesOut, entropyBytes, notes, calls, config },
  };
}

function unusual(config: TcpConfig): Record<string, unknown> {
  const usual = completeConfig(undefined) as unknown as Record<string, unknown>;
  return Object.fromEntries(Object.entries(config).filter(([name, value]) => value !== usual[name]));
}

/** The same for people. */
export function infoText(info: RecordingInfo): string {
  const { about, calls, config } = info;
  const list = (entries: Record<string, unknown>): string =>
    Object.entries(entries).map(([name, value]) => `${name} ${shown(value as CborValue)}`).join(", ") ||
    "nothing";
  const often = Object.entries(calls).sort(([, a], [, b]) => b - a);
  return [
    `about        ${list(about)}`,
    `recorded     ${new Date(info.startedAtMs).toISOString()}, ${info.seconds.toFixed(3)} s`,
    `end          ${info.end}`,
    `file         ${info.bytes} bytes, ${info.segments} segments, ${info.events} events, ${info.notes} notes`,
    ...info.interfaces.map((each) => `interface    ${each}`),
    `frames       ${info.framesIn} in (${info.bytesIn} bytes), ${info.framesOut} out (${info.bytesOut} bytes)`,
    `entropy      ${info.entropyBytes} bytes`,
    `tcp config   ${Object.keys(config).length === 0 ? "as by default" : list(config)}`,
    `calls        ${often.map(([name, count]) => `${name} ${count}`).join(", ")}`,
  ].join("\n") + "\n";
}
