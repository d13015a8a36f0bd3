/** Where a connection's stream stands, and what to answer. */
export interface ProtocolReading {
  /** Whole numbers: they are part of the connection's image. At most 256. */
  readonly state: readonly number[];
  /** What to send, perhaps nothing, when all that came is answered by it; `undefined` when the application must see it. */
  readonly answer: Uint8Array | undefined;
}

/**
 * What a protocol can answer while its application sleeps: a pure function over the bytes that arrive and a small state.
 *
 * It sees every byte of the stream, also those that the application gets awake, so that it knows where a message
 * begins; only while the application sleeps is its answer sent. It must never answer what it is not sure of: what is
 * handed on is not lost, what is swallowed is. The application writes whole messages at a time: an answer goes out
 * between two of its writes.
 */
export interface AsleepProtocol {
  /** Tells its state from another protocol's, in an image of an earlier process. Those of Torpor are below 256. */
  readonly id: number;
  /** The state of a connection that has just been opened. */
  readonly start: readonly number[];
  /** Reads the next bytes of the stream; `bytes` is valid until it returns. */
  read(state: readonly number[], bytes: Uint8Array): ProtocolReading;
}

/** The longest state. */
export const PROTOCOL_STATE_MAX = 256;
/** What nothing has to be said to. */
export const SILENCE: Uint8Array = new Uint8Array(0);

/** Puts answers together. */
export function joined(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length <= 1) return parts[0] ?? SILENCE;
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
