import type { TcpConn, TcpListener } from "../../net/socket/types.ts";

/** The control channel's states (iperf 3, iperf_api.h). */
const State = {
  testStart: 1,
  testRunning: 2,
  testEnd: 4,
  paramExchange: 9,
  createStreams: 10,
  exchangeResults: 13,
  displayResults: 14,
  done: 16,
} as const;
const COOKIE_BYTES = 37;
const BLOCK_BYTES = 128 * 1024;

/** Serves the stock iperf3 client over our connections, one test at a time, both directions. */
export async function serveIperf3(listener: TcpListener): Promise<void> {
  let test: Iperf3Test | undefined;
  for await (const conn of listener) {
    const cookie = new TextDecoder().decode(await readExactly(conn, COOKIE_BYTES));
    if (test?.cookie === cookie && !test.done) test.addStream(conn);
    else {
      test = new Iperf3Test(conn, cookie);
      test.run().catch((error) => console.error("iperf3 test failed:", error));
    }
  }
}

class Iperf3Test {
  readonly cookie: string;
  done = false;
  readonly #control: TcpConn;
  readonly #streams: { conn: TcpConn; bytes: number }[] = [];
  #wanted = 1;
  #complete: () => void = () => {};

  constructor(control: TcpConn, cookie: string) {
    this.#control = control;
    this.cookie = cookie;
  }

  addStream(conn: TcpConn): void {
    this.#streams.push({ conn, bytes: 0 });
    if (this.#streams.length === this.#wanted) this.#complete();
  }

  async run(): Promise<void> {
    await this.#say(State.paramExchange);
    const parameters = await this.#readJson() as { parallel?: number; reverse?: boolean };
    this.#wanted = parameters.parallel ?? 1;
    const complete = new Promise<void>((resolve) => void (this.#complete = resolve));
    await this.#say(State.createStreams);
    await complete;
    await this.#say(State.testStart);
    await this.#say(State.testRunning);
    const startMs = performance.now();
    for (const stream of this.#streams) {
      void (parameters.reverse ? this.#send(stream) : this.#receive(stream));
    }
    while ((await readExactly(this.#control, 1))[0] !== State.testEnd);
    this.done = true;
    const seconds = (performance.now() - startMs) / 1000;
    // As the stock server does: the client may be waiting for the rest of a block.
    for (const { conn } of this.#streams) close(conn);
    await this.#say(State.exchangeResults);
    await this.#readJson();
    await this.#writeJson({
      cpu_util_total: 0,
      cpu_util_user: 0,
      cpu_util_system: 0,
      sender_has_retransmits: 0,
      streams: this.#streams.map(({ bytes }, index) => ({
        id: index === 0 ? 1 : index + 2,
        bytes,
        retransmits: -1,
        jitter: 0,
        errors: 0,
        packets: 0,
        start_time: 0,
        end_time: seconds,
      })),
    });
    await this.#say(State.displayResults);
    while ((await readExactly(this.#control, 1))[0] !== State.done);
    this.#control.close();
  }

  async #receive(stream: { conn: TcpConn; bytes: number }): Promise<void> {
    const block = new Uint8Array(BLOCK_BYTES);
    try {
      for (let count = await stream.conn.read(block); count !== null; count = await stream.conn.read(block)) {
        stream.bytes += count;
      }
    } catch {
      // The client just closes when its time is up.
    }
  }

  async #send(stream: { conn: TcpConn; bytes: number }): Promise<void> {
    const block = new Uint8Array(BLOCK_BYTES);
    try {
      while (!this.done) stream.bytes += await stream.conn.write(block);
    } catch {
      // As above.
    }
  }

  async #say(state: number): Promise<void> {
    await writeAll(this.#control, Uint8Array.of(state));
  }

  async #readJson(): Promise<unknown> {
    const length = new DataView((await readExactly(this.#control, 4)).buffer).getUint32(0);
    return JSON.parse(new TextDecoder().decode(await readExactly(this.#control, length)));
  }

  async #writeJson(value: unknown): Promise<void> {
    const text = new TextEncoder().encode(JSON.stringify(value));
    const bytes = new Uint8Array(4 + text.length);
    new DataView(bytes.buffer).setUint32(0, text.length);
    bytes.set(text, 4);
    await writeAll(this.#control, bytes);
  }
}

function close(conn: TcpConn): void {
  try {
    conn.close();
  } catch {
    // Closed already.
  }
}

/** Reads exactly `length` bytes; throws when the stream ends before. */
export async function readExactly(conn: TcpConn, length: number): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length;) {
    const count = await conn.read(bytes.subarray(at));
    if (count === null) throw new Error(`The stream ended after ${at} of ${length} bytes`);
    at += count;
  }
  return bytes;
}

export async function writeAll(conn: TcpConn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
}
