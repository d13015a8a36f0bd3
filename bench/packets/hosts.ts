import { assert } from "../../base/assert.ts";
import { pipe } from "../../net/link/pipe.ts";
import { Host } from "../../net/socket/host.ts";
import type { StackRecorder } from "../../net/stack.ts";
import type { TcpConn } from "../../net/socket/types.ts";
import {
  CHUNK_BYTES,
  DATAGRAM_BYTES,
  DATAGRAMS,
  type Done,
  PORT,
  type Subject,
  type Work,
} from "./subject.ts";

/**
 * Two hosts over a pipe, as programs use them: Deno's calls on the client's side, handlers on the
 * server's, the runtime's event loop and the system's clock between them.
 */
export class Hosts implements Subject {
  readonly #client: Host;
  readonly #server: Host;
  readonly #packets: () => number;
  #received = 0;

  /**
   * @param recorder Gives each host one (checkpoint/replay/recorder.ts).
   * @param offloads Whether the pipe carries trains.
   */
  constructor(
    timeWaitMs: number,
    recorder: () => StackRecorder | undefined = () => undefined,
    offloads = false,
  ) {
    const links = pipe({ medium: "ip", offloads });
    const host = (side: 0 | 1): Host => {
      const addresses = [{ address: `10.0.0.${side + 1}/24` }];
      const recording = recorder();
      return new Host({
        interfaces: [{ link: links[side] }],
        addresses,
        tcp: { timeWaitMs },
        ...(recording === undefined ? {} : { recorder: recording }),
      });
    };
    this.#server = host(0);
    this.#client = host(1);
    this.#packets = () => links[0].counters.framesOut + links[1].counters.framesOut;
    this.#server.serve({ port: PORT.discard, data: (_, bytes) => void (this.#received += bytes.length) });
    this.#server.serve({
      port: PORT.echo,
      open: (connection) => connection.setNoDelay(),
      data: (connection, bytes) => void connection.write(bytes),
    });
    this.#server.serve({
      port: PORT.once,
      data: (connection, bytes) => {
        connection.write(bytes);
        connection.end();
      },
    });
  }

  async run(work: Work, roundMs: number): Promise<Done> {
    const packetsBefore = this.#packets();
    const startMs = performance.now();
    const count = await this[work](startMs + roundMs);
    const elapsedMs = performance.now() - startMs;
    return { count, packets: this.#packets() - packetsBefore, elapsedMs };
  }

  close(): void {
    this.#client.close();
    this.#server.close();
  }

  async bulk(untilMs: number): Promise<number> {
    this.#received = 0;
    const connection = await this.#connect(PORT.discard);
    const chunk = new Uint8Array(CHUNK_BYTES);
    let sent = 0;
    do sent += await connection.write(chunk); while (performance.now() < untilMs);
    await connection.closeWrite();
    assert(await connection.read(chunk) === null, "The server closes, too");
    connection.close();
    assert(this.#received === sent, "All of it arrives");
    return sent;
  }

  async roundTrips(untilMs: number): Promise<number> {
    using connection = await this.#connect(PORT.echo);
    connection.setNoDelay();
    const byte = Uint8Array.of(7);
    let count = 0;
    do {
      await connection.write(byte);
      assert(await connection.read(byte) === 1, "One byte comes back");
      count++;
    } while (performance.now() < untilMs);
    return count;
  }

  async connections(untilMs: number): Promise<number> {
    const byte = Uint8Array.of(7);
    let count = 0;
    do {
      const connection = await this.#connect(PORT.once);
      await connection.write(byte);
      assert(await connection.read(byte) === 1, "One byte comes back");
      assert(await connection.read(byte) === null, "Then it ends");
      connection.close();
      count++;
    } while (performance.now() < untilMs);
    return count;
  }

  async datagrams(untilMs: number): Promise<number> {
    const server = this.#server.listenDatagram({ port: PORT.datagrams });
    const client = this.#client.listenDatagram();
    const to = { transport: "udp", hostname: "10.0.0.1", port: PORT.datagrams } as const;
    const bytes = new Uint8Array(DATAGRAM_BYTES), into = new Uint8Array(DATAGRAM_BYTES);
    let count = 0;
    do {
      for (let each = 0; each < DATAGRAMS; each++) void client.send(bytes, to);
      for (let each = 0; each < DATAGRAMS; each++) await server.receive(into);
      count += DATAGRAMS;
    } while (performance.now() < untilMs);
    client.close();
    server.close();
    return count;
  }

  #connect(port: number): Promise<TcpConn> {
    return this.#client.connect({ hostname: "10.0.0.1", port });
  }
}
