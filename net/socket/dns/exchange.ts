import { ConnectionReset, TimedOut } from "../errors.ts";
import type { Host } from "../host.ts";
import { decodeResponse, encodeQuery } from "./codec.ts";
import type { DnsResponse, DnsType } from "./message.ts";

/** One question to one server. */
export interface DnsQuestion {
  readonly server: { readonly hostname: string; readonly port: number };
  readonly name: string;
  readonly type: DnsType;
  readonly timeoutMs: number;
  /** Ends with the host, the caller's patience, or never. */
  readonly signal: AbortSignal;
}

/** Datagrams that do not fit the question and are passed over; whoever sends more is guessing. */
const WRONG_MAX = 64;

/**
 * Asks a server by UDP, and by TCP when the answer is longer than that, or does not repeat the name's case.
 * The port, the identifier and the case of the letters are random (RFC 5452, draft-vixie-dnsext-dns0x20).
 *
 * @throws {TimedOut} {ConnectionRefused} {ConnectionReset} {HostUnreachable} {NetworkUnreachable}, or the
 * signal's reason.
 */
export async function askServer(host: Host, question: DnsQuestion): Promise<DnsResponse> {
  const deadline = new Deadline(host, question);
  try {
    let response = await askByUdp(host, question, true, deadline);
    // RFC 6891 section 7: a server that does not know EDNS says so.
    if (response !== "by TCP" && (response.code === "FORMERR" || response.code === "NOTIMP")) {
      response = await askByUdp(host, question, false, deadline);
    }
    if (response !== "by TCP" && !response.truncated) return response;
    return await askByTcp(host, question, deadline);
  } finally {
    deadline.clear();
  }
}

/** Rejects what waits when time is up or the signal says so. */
class Deadline {
  readonly controller = new AbortController();
  readonly #alarm: { cancel(): void };
  readonly #signal: AbortSignal;
  readonly #aborted = (): void => this.controller.abort(this.#signal.reason);

  constructor(host: Host, { server, timeoutMs, signal }: DnsQuestion) {
    this.#signal = signal;
    this.#alarm = host.clock.at(host.clock.nowMs() + timeoutMs, () => {
      this.controller.abort(
        new TimedOut(`Name server ${server.hostname} has not answered for ${timeoutMs} ms`),
      );
    });
    if (signal.aborted) this.#aborted();
    else signal.addEventListener("abort", this.#aborted, { once: true });
  }

  /** `work`, or the reason why it is too late; `cancel` then ends the work. */
  async before<T>(work: Promise<T>, cancel: () => void): Promise<T> {
    const { signal } = this.controller;
    let stop!: () => void;
    const late = new Promise<never>((_, reject) => {
      stop = () => reject(signal.reason);
      if (signal.aborted) stop();
      else signal.addEventListener("abort", stop, { once: true });
    });
    try {
      return await Promise.race([work, late]);
    } catch (error) {
      work.catch(() => {}); // nobody waits for it any more
      cancel();
      throw error;
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }

  clear(): void {
    this.#alarm.cancel();
    this.#signal.removeEventListener("abort", this.#aborted);
  }
}

async function askByUdp(
  host: Host,
  { server, name, type }: DnsQuestion,
  edns: boolean,
  deadline: Deadline,
): Promise<DnsResponse | "by TCP"> {
  const { draws } = host.stack;
  const id = draws.below(0x1_0000);
  const mixed = mixCase(name, () => draws.below(2) === 0);
  const socket = await host.connectDatagram(server);
  let closed = false;
  const close = (): void => {
    if (!closed && !host.closed) socket.close();
    closed = true;
  };
  try {
    await socket.send(encodeQuery(id, mixed, type, edns));
    for (let wrong = 0; wrong < WRONG_MAX; wrong++) {
      const [bytes] = await deadline.before(socket.receive(), close);
      const response = decodeResponse(bytes, id, mixed, type);
      if (response === "other case") return "by TCP"; // where nobody can guess
      if (response !== undefined) return response;
    }
    return "by TCP";
  } finally {
    close();
  }
}

/** RFC 7766: the same with the length in front. */
async function askByTcp(
  host: Host,
  { server, name, type }: DnsQuestion,
  deadline: Deadline,
): Promise<DnsResponse> {
  const id = host.stack.draws.below(0x1_0000);
  const conn = await host.connect({ ...server, signal: deadline.controller.signal });
  let closed = false;
  const close = (): void => {
    if (!closed) conn.close();
    closed = true;
  };
  try {
    const query = encodeQuery(id, name, type, true);
    const framed = Uint8Array.of(query.length >> 8, query.length & 255, ...query);
    for (let at = 0; at < framed.length;) {
      at += await deadline.before(conn.write(framed.subarray(at)), close);
    }
    const length = await readExactly(2);
    const response = decodeResponse(await readExactly(length[0]! * 256 + length[1]!), id, name, type);
    if (response === undefined || response === "other case") {
      throw new ConnectionReset(`Name server ${server.hostname} answers another question`);
    }
    return response;
  } finally {
    close();
  }

  async function readExactly(count: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(count);
    for (let at = 0; at < count;) {
      const got = await deadline.before(conn.read(bytes.subarray(at)), close);
      if (got === null) throw new ConnectionReset(`Name server ${server.hostname} ended the connection`);
      at += got;
    }
    return bytes;
  }
}

/** Letters in upper or lower case as `coin` says: who has not seen the question does not know. */
function mixCase(name: string, coin: () => boolean): string {
  return name.replaceAll(/[a-z]/g, (letter) => coin() ? letter.toUpperCase() : letter);
}
