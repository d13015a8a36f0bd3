import process from "node:process";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import * as errors from "../../../net/socket/errors.ts";
import type { ConnectOptions, DatagramConn, TcpConn, TcpListener } from "../../../net/socket/types.ts";
import {
  CLIENT,
  concat,
  difference,
  patterned,
  readAll,
  realPair,
  refusal,
  SERVER,
  writeAll,
} from "./world.ts";

/** What both Deno and a pair of our hosts can do. */
interface Net {
  /** The address of whoever listens. */
  readonly hostname: string;
  listen(options?: { port?: number }): TcpListener;
  connect(options: ConnectOptions): Promise<TcpConn>;
  listenDatagram(): DatagramConn;
  /** A datagram socket at the other end. */
  otherDatagram(): DatagramConn;
}

type DenoNet = {
  listen(options: { hostname: string; port: number }): TcpListener;
  connect(options: ConnectOptions): Promise<TcpConn>;
  listenDatagram?(options: { hostname: string; port: number; transport: "udp" }): DatagramConn;
  errors: Record<string, unknown>;
};
const deno = "Bun" in globalThis ? undefined : (globalThis as unknown as { Deno?: DenoNet }).Deno;

function ours(): Net {
  const { server, client } = realPair();
  return {
    hostname: SERVER,
    listen: ({ port = 0 } = {}) => server.listen({ hostname: SERVER, port }),
    connect: (options) => client.connect(options),
    listenDatagram: () => server.listenDatagram({ hostname: SERVER, port: 0 }),
    otherDatagram: () => client.listenDatagram({ hostname: CLIENT, port: 0 }),
  };
}

function denos(): Net {
  const hostname = "127.0.0.1";
  const datagram = (): DatagramConn => deno!.listenDatagram!({ hostname, port: 0, transport: "udp" });
  return {
    hostname,
    listen: ({ port = 0 } = {}) => deno!.listen({ hostname, port }),
    connect: (options) => deno!.connect(options),
    listenDatagram: datagram,
    otherDatagram: datagram,
  };
}

const unhandled: unknown[] = [];
const onUnhandled = (reason: unknown): void => void unhandled.push(reason);
beforeEach(() => void process.on("unhandledRejection", onUnhandled));
afterEach(async () => {
  await new Promise((resolve) => setTimeout(resolve, 0));
  process.off("unhandledRejection", onUnhandled);
  expect(unhandled.splice(0)).toEqual([]);
});

const CLOSED = "BadResource: Bad resource ID";
const INTERRUPTED = "Interrupted: operation canceled";

for (const [name, make] of [["ours", ours], ["Deno's", denos]] as const) {
  describe.skipIf(make === denos && deno === undefined)(name, () => {
    let net: Net;
    beforeEach(() => void (net = make()));

    async function connected(): Promise<{ here: TcpConn; there: TcpConn; listener: TcpListener }> {
      const listener = net.listen();
      const accepted = listener.accept();
      const here = await net.connect({ hostname: net.hostname, port: listener.addr.port });
      return { here, there: await accepted, listener };
    }
    const quit = (...held: { close(): void }[]): void => {
      for (const each of held) {
        try {
          each.close();
        } catch {
          // closed by the test
        }
      }
    };

    test("addresses of both ends agree", async () => {
      const { here, there, listener } = await connected();
      expect(here.remoteAddr).toEqual(listener.addr);
      expect(there.localAddr).toEqual(listener.addr);
      expect(there.remoteAddr).toEqual(here.localAddr);
      expect(listener.addr.transport).toBe("tcp");
      quit(here, there, listener);
    });

    test("a pending read is interrupted by close", async () => {
      const { here, there, listener } = await connected();
      const reading = refusal(here.read(new Uint8Array(8)));
      here.close();
      expect(await reading).toBe(INTERRUPTED);
      quit(there, listener);
    });

    test("a closed connection refuses every call", async () => {
      const { here, there, listener } = await connected();
      here.close();
      expect(await refusal(here.read(new Uint8Array(8)))).toBe(CLOSED);
      expect(await here.read(new Uint8Array(0))).toBe(0);
      expect(await refusal(here.write(new Uint8Array(8)))).toBe(CLOSED);
      expect(await refusal(here.closeWrite())).toBe(CLOSED);
      expect(await refusal(() => here.close())).toBe(CLOSED);
      here[Symbol.dispose](); // and this does not mind
      quit(there, listener);
    });

    test("half-close: nothing more is written, twice is once, and the other way stays open", async () => {
      const { here, there, listener } = await connected();
      await writeAll(here, patterned(10));
      await here.closeWrite();
      await here.closeWrite();
      expect(await refusal(here.write(new Uint8Array(1)))).toMatch(/^BrokenPipe: /);
      expect(await readAll(there)).toEqual(patterned(10));
      expect(await there.read(new Uint8Array(1))).toBe(null); // the end stays the end
      await writeAll(there, patterned(70_000, 1));
      await there.closeWrite();
      expect(difference(await readAll(here), patterned(70_000, 1))).toBe(-1);
      quit(here, there, listener);
    });

    test("reading into nothing reads nothing", async () => {
      const { here, there, listener } = await connected();
      expect(await here.read(new Uint8Array(0))).toBe(0);
      await writeAll(there, patterned(4));
      expect(await here.read(new Uint8Array(0))).toBe(0);
      expect(await here.read(new Uint8Array(8))).toBe(4);
      quit(here, there, listener);
    });

    test("reads take what there is, never more than asked for", async () => {
      const { here, there, listener } = await connected();
      await writeAll(here, patterned(10));
      const parts: Uint8Array[] = [];
      while (parts.reduce((sum, { length }) => sum + length, 0) < 10) {
        const buffer = new Uint8Array(3);
        const count = await there.read(buffer);
        expect(count).toBeLessThanOrEqual(3);
        parts.push(buffer.slice(0, count!));
      }
      expect(concat(parts)).toEqual(patterned(10));
      quit(here, there, listener);
    });

    test("a big write meets backpressure and arrives whole", async () => {
      const { here, there, listener } = await connected();
      const bytes = patterned(6_000_000);
      let written = false;
      const writing = writeAll(here, bytes).then(() => here.closeWrite()).then(() => (written = true));
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(written).toBe(false); // nobody reads
      expect(difference(await readAll(there), bytes)).toBe(-1);
      await writing;
      quit(here, there, listener);
    });

    test("write, then close without waiting: the bytes arrive", async () => {
      const { here, there, listener } = await connected();
      const writing = here.write(patterned(9));
      here.close();
      expect(await writing).toBe(9);
      expect(await readAll(there)).toEqual(patterned(9));
      quit(there, listener);
    });

    test("pending and later accepts of a closed listener are refused", async () => {
      const listener = net.listen();
      const accepting = refusal(listener.accept());
      listener.close();
      expect(await accepting).toBe("BadResource: Listener has been closed");
      expect(await refusal(listener.accept())).toMatch(/^BadResource: /);
      expect(await refusal(() => listener.close())).toBe(CLOSED);
      listener[Symbol.dispose]();
    });

    test("iterating over a listener ends quietly when it closes", async () => {
      const listener = net.listen();
      let connections = 0;
      const serving = (async () => {
        for await (const conn of listener) {
          connections++;
          conn.close();
        }
      })();
      const conn = await net.connect({ hostname: net.hostname, port: listener.addr.port });
      expect(await conn.read(new Uint8Array(1))).toBe(null);
      listener.close();
      await serving;
      expect(connections).toBe(1);
      quit(conn);
    });

    test("connecting where nobody listens is refused", async () => {
      const listener = net.listen();
      const { port } = listener.addr;
      listener.close();
      const connecting = net.connect({ hostname: net.hostname, port });
      expect(await refusal(connecting)).toMatch(/^ConnectionRefused: /);
    });

    test("an aborted signal's reason comes back", async () => {
      const listener = net.listen();
      const reason = new Error("changed my mind");
      const connecting = net.connect({
        hostname: net.hostname,
        port: listener.addr.port,
        signal: AbortSignal.abort(reason),
      });
      await expect(connecting).rejects.toBe(reason);
      listener.close();
    });

    test("a port in use cannot be listened on", async () => {
      const listener = net.listen();
      expect(await refusal(() => net.listen({ port: listener.addr.port }))).toMatch(/^AddrInUse: /);
      const { port } = listener.addr;
      listener.close();
      net.listen({ port }).close();
    });

    test("`using` closes at the end of the block", async () => {
      const { here, there, listener } = await connected();
      {
        using held = here;
        using _door = listener;
        await writeAll(held, patterned(3));
      }
      expect(await readAll(there)).toEqual(patterned(3));
      expect(await refusal(() => here.close())).toBe(CLOSED);
      expect(await refusal(() => listener.close())).toBe(CLOSED);
      quit(there);
    });

    test("a readable stream's end closes the whole connection", async () => {
      const { here, there, listener } = await connected();
      await writeAll(there, patterned(100_000));
      there.close();
      const parts: Uint8Array[] = [];
      for await (const part of here.readable) parts.push(part);
      expect(difference(concat(parts), patterned(100_000))).toBe(-1);
      expect(await refusal(() => here.close())).toBe(CLOSED);
      quit(listener);
    });

    test("writable.close() and readable.cancel() close the connection", async () => {
      const first = await connected();
      const writer = first.here.writable.getWriter();
      await writer.write(patterned(12));
      await writer.close();
      expect(await readAll(first.there)).toEqual(patterned(12));
      expect(await refusal(() => first.here.close())).toBe(CLOSED);
      const second = await connected();
      await second.here.readable.cancel();
      expect(await refusal(() => second.here.close())).toBe(CLOSED);
      quit(first.there, first.listener, second.there, second.listener);
    });

    test("readers that bring their own buffer", async () => {
      const { here, there, listener } = await connected();
      await writeAll(here, patterned(5));
      const reader = there.readable.getReader({ mode: "byob" });
      const first = await reader.read(new Uint8Array(2));
      expect([first.done, first.value]).toEqual([false, patterned(5).subarray(0, 2)]);
      const rest = await reader.read(new Uint8Array(64));
      expect(rest.value).toEqual(patterned(5).subarray(2));
      here.close();
      const end = await reader.read(new Uint8Array(8));
      expect([end.done, end.value?.length]).toEqual([true, 0]);
      quit(listener);
    });

    test("pipeTo echoes between two connections, and a tee gives both branches everything", async () => {
      const { here, there, listener } = await connected();
      const bytes = patterned(1_500_000);
      const echoing = there.readable.pipeTo(there.writable);
      const [left, right] = here.readable.tee();
      const collect = async (stream: ReadableStream<Uint8Array>): Promise<Uint8Array> => {
        const parts: Uint8Array[] = [];
        for await (const part of stream) parts.push(part);
        return concat(parts);
      };
      const collecting = Promise.all([collect(left), collect(right)]);
      await writeAll(here, bytes);
      await here.closeWrite();
      for (const copy of await collecting) expect(difference(copy, bytes)).toBe(-1);
      await echoing;
      quit(listener);
    });

    test.skipIf(make === denos && deno?.listenDatagram === undefined)("datagrams", async () => {
      const here = net.listenDatagram();
      const there = net.otherDatagram();
      expect(here.addr.transport).toBe("udp");
      expect(await there.send(patterned(100), here.addr)).toBe(100);
      const [bytes, from] = await here.receive();
      expect(bytes).toEqual(patterned(100));
      expect(from).toEqual(there.addr);
      await here.send(patterned(9), from);
      const [cut] = await there.receive(new Uint8Array(4));
      expect(cut).toEqual(patterned(9).subarray(0, 4)); // the rest is gone
      const receiving = refusal(there.receive());
      there.close();
      expect(await receiving).toBe(INTERRUPTED);
      expect(await refusal(there.send(patterned(1), here.addr))).toBe("BadResource: Socket has been closed");
      const iterating = (async () => {
        for await (const _ of here) throw new Error("Nothing was sent");
      })();
      await Promise.resolve();
      here.close();
      await iterating;
      expect(await refusal(() => here.close())).toBe(CLOSED);
    });
  });
}

test.runIf(deno !== undefined)("on Deno our errors are Deno's", () => {
  for (const [name, thrown] of Object.entries(errors)) {
    if (name === "HostUnreachable") continue; // Deno has none
    expect(thrown, name).toBe(deno!.errors[name]);
  }
});
