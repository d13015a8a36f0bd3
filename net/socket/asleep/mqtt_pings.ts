import { type AsleepProtocol, joined, type ProtocolReading } from "./protocol.ts";

/** `state`: [mode, bytes of the packet that are still to come, bytes of its fixed header ...]. */
const Mode = {
  /** Nothing but CONNECT may come (MQTT 5 section 3.1, 3.1.1 section 3.1). */
  opening: 0,
  packets: 1,
  /** After DISCONNECT, or after what is no MQTT: nothing is answered any more. */
  over: 2,
} as const;

const CONNECT = 0x10;
const PINGREQ = 0xc0;
const DISCONNECT = 0xe0;
const PINGRESP = Uint8Array.of(0xd0, 0);
/** A remaining length has so many bytes at most (section 2.1.4). */
const LENGTH_BYTES_MAX = 4;

/**
 * Answers PINGREQ with PINGRESP, in MQTT 3.1.1 and 5, without waking the application.
 *
 * The application hears of no such ping, so it must not measure its clients' keep-alive by them: TCP's keep-alive,
 * which is sent asleep too, says who is gone.
 *
 * @example
 * ```ts
 * import { MemoryStore, mqttPings, pipe, SleepyHost } from "@torpor/torpor";
 * const [link] = pipe();
 * using host = new SleepyHost({ interfaces: [{ link }], store: new MemoryStore() });
 * host.serve({ port: 1883, asleep: mqttPings(), data: (connection, bytes) => void connection.write(bytes) });
 * ```
 */
export function mqttPings(): AsleepProtocol {
  return { id: 2, start: [Mode.opening, 0], read };
}

function read(state: readonly number[], bytes: Uint8Array): ProtocolReading {
  let [mode = Mode.over, left = 0] = state as [number?, number?];
  let head = state.slice(2);
  let all = head.length === 0 && left === 0;
  const answers: Uint8Array[] = [];
  for (let at = 0; at < bytes.length && mode !== Mode.over;) {
    if (left > 0) {
      const some = Math.min(left, bytes.length - at);
      left -= some;
      at += some;
      continue;
    }
    head.push(bytes[at++]!);
    const last = head[head.length - 1]!;
    if (head.length === 1 || (last >= 0x80 && head.length <= LENGTH_BYTES_MAX)) continue; // more of the length
    const type = head[0]!;
    left = last >= 0x80 ? Infinity : lengthOf(head);
    head = [];
    if (left === Infinity || (mode === Mode.opening && type !== CONNECT)) mode = Mode.over;
    else if (type === DISCONNECT) mode = Mode.over;
    else mode = Mode.packets;
    if (type === PINGREQ && left === 0 && mode === Mode.packets) answers.push(PINGRESP);
    else all = false;
  }
  if (mode === Mode.over) return { state: [Mode.over, 0], answer: undefined };
  const whole = all && head.length === 0 && left === 0;
  return { state: [mode, left, ...head], answer: whole ? joined(answers) : undefined };
}

/** The remaining length: seven bits a byte, the least first. */
function lengthOf(head: readonly number[]): number {
  return head.slice(1).reduce((sum, byte, at) => sum + (byte & 0x7f) * 128 ** at, 0);
}
