import { Field, RecordState } from "../../net/connections/connection_map.ts";
import { tcpStateNames } from "../../net/tcp/tcb.ts";
import type { SleepingHost } from "../sleeping_host.ts";
import type { ConnectionState, ControlRequest } from "./request.ts";

/** A connection of a running host, in a line. What only an image knows is absent of those that sleep. */
export interface ConnectionRow {
  /** The connection's name. */
  readonly id: string;
  /** What holds it. */
  readonly state: ConnectionState;
  /** `established`, `closeWait` and so on. */
  readonly tcp?: string;
  /** Milliseconds since data last moved. */
  readonly idleMs?: number;
  /** Bytes written and not acknowledged. */
  readonly sendQueueBytes?: number;
  /** Bytes received and not read. */
  readonly receiveQueueBytes?: number;
  /** Bytes that have arrived. */
  readonly bytesIn?: number;
  /** Bytes that the peer has acknowledged. */
  readonly bytesOut?: number;
}

/** The connections that `request` asks for. The host may go on between two of them: who has ended is left out. */
export function* rowsOf(
  host: SleepingHost,
  { port, from, state }: Extract<ControlRequest, { do: "ls" }>,
): Generator<ConnectionRow> {
  const { connections, addresses } = host.stack;
  for (const id of host.connections(port)) {
    const record = host.recordOf(id);
    if (record < 0) continue;
    if (from !== undefined && addresses.format(connections.get(record, Field.remoteAddress)) !== from) {
      continue;
    }
    const row = rowOf(host, id, record);
    if (state === undefined || row.state === state) yield row;
  }
}

function rowOf(host: SleepingHost, id: string, record: number): ConnectionRow {
  const held = host.stack.connections.state(record);
  if (held !== RecordState.awake) return { id, state: held === RecordState.asleep ? "asleep" : "waking" };
  const tcb = host.stack.awakeTcb(record);
  return {
    id,
    state: tcb.saving ? "saving" : "awake",
    tcp: tcpStateNames[tcb.state]!,
    idleMs: Math.max(0, Math.round(host.clock.nowMs() - tcb.lastActivityMs)),
    sendQueueBytes: tcb.sendQueue.length,
    receiveQueueBytes: tcb.receiveQueue.length,
    bytesIn: tcb.bytesIn,
    bytesOut: tcb.bytesOut,
  };
}
