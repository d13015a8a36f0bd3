import { RecordState } from "../../net/connections/connection_map.ts";
import { freezeTcb } from "../../net/tcp/freeze.ts";
import { frozenTcbFields } from "../../net/tcp/frozen_tcb.ts";
import { type TcpInfo, tcpInfo } from "../../net/tcp/info.ts";
import { type Tcb, TcpState, tcpStateNames } from "../../net/tcp/tcb.ts";
import { locationOfRecord } from "../../net/wake/slot.ts";
import { explainImage } from "../image/explain.ts";
import type { SleepingHost } from "../sleeping_host.ts";
import { readSocketImage, writeSocketImage } from "../sockets/socket_image.ts";
import { formatFrozenAddress } from "../../net/ip/address_table.ts";
import { locationText } from "../sockets/stored.ts";
import { stretchesOf } from "../sockets/stretch.ts";
import { ControlError } from "./control_error.ts";
import type { ConnectionState } from "./request.ts";

/** All that is known of one connection. */
export interface Inspected {
  /** The connection's name. */
  readonly id: string;
  /** What holds it. */
  readonly state: ConnectionState;
  /** `established`, `closeWait` and so on. */
  readonly tcp: string;
  /** The TCB's fields, as an image has them; of queues, how many bytes. */
  readonly fields: Readonly<Record<string, unknown>>;
  /** Milliseconds until each timer that runs. */
  readonly timers: Readonly<Record<string, number>>;
  /** Linux's `tcp_info`; of a sleeper there is none. */
  readonly info?: TcpInfo;
  /** The image, in words: the one that it sleeps in, or would. */
  readonly image: { readonly bytes: number; readonly location?: string; readonly text: string };
}

/** Fields of a frozen TCB that are times left on a timer. */
const TIMERS = ["keepAliveIn", "delayedAckIn", "retransmitIn", "persistIn", "expireIn"];

/**
 * Looks at a connection and leaves it as it is, asleep if it sleeps.
 * @throws {ControlError} `refused`, when there is none of that name.
 */
export function inspect(host: SleepingHost, id: string): Inspected {
  const record = recordOf(host, id);
  const held = host.stack.connections.state(record);
  if (held !== RecordState.awake) {
    const location = locationOfRecord(host.stack.connections, record);
    const image = host.sleeper.store.read(location);
    const state = held === RecordState.asleep ? "asleep" : "waking";
    return { id, state, ...described(image, stretchesOf(host.sleeper.store), locationText(location)) };
  }
  const tcb = host.stack.awakeTcb(record);
  if (tcb.state === TcpState.closed) throw new ControlError("refused", `Connection "${id}" has just ended`);
  const nowMs = host.clock.nowMs();
  return {
    id,
    state: tcb.saving ? "saving" : "awake",
    ...described(imageOf(host, tcb, nowMs)),
    info: tcpInfo(host.stack.tcp, tcb, nowMs),
  };
}

/** @throws {ControlError} `refused`, when there is no connection of that name. */
export function recordOf(host: SleepingHost, id: string): number {
  let record = -1;
  try {
    record = host.recordOf(id);
  } catch (error) {
    throw new ControlError("refused", error instanceof Error ? error.message : String(error));
  }
  if (record < 0) throw new ControlError("refused", `No connection "${id}" is here`);
  return record;
}

function imageOf(host: SleepingHost, tcb: Tcb, nowMs: number): Uint8Array {
  const frozen = freezeTcb(tcb, nowMs, host.stack.addresses);
  try {
    return writeSocketImage(frozen, tcb.attachment);
  } catch {
    return writeSocketImage(frozen, undefined); // an attachment that no image can hold
  }
}

function described(
  image: Uint8Array,
  stretchOf?: (number: number) => Uint8Array,
  location?: string,
): Pick<Inspected, "tcp" | "fields" | "timers" | "image"> {
  const { tcb } = readSocketImage(image, stretchOf);
  const fields: Record<string, unknown> = {};
  const timers: Record<string, number> = {};
  frozenTcbFields.forEach((name, place) => {
    const value = tcb[place] as unknown;
    if (name.endsWith("Address")) fields[name] = formatFrozenAddress(value as number | Uint8Array);
    else fields[name] = value instanceof Uint8Array ? value.length : value;
    if (TIMERS.includes(name) && typeof value === "number") timers[name.slice(0, -2)] = value;
  });
  fields["ahead"] = (tcb[frozenTcbFields.indexOf("ahead")] as [number, Uint8Array][]).map(
    ([offset, bytes]) => ({ offset, bytes: bytes.length }),
  );
  return {
    tcp: tcpStateNames[fields["state"] as number]!,
    fields,
    timers,
    image: {
      bytes: image.length,
      ...(location === undefined ? {} : { location }),
      text: explainImage(image),
    },
  };
}
