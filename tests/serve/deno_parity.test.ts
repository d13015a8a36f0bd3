import { beforeEach, describe, expect, test } from "vitest";
import { patterned, readAll, refusal, writeAll } from "../net/socket/world.ts";
import { judge } from "../support/judge.ts";
import { type Certificate, makeCertificate } from "./certificate.ts";
import { deno, type DenoNet, NETS } from "./deno_net.ts";
import type { TlsConn } from "../../serve/deno/types.ts";
import type { TcpConn } from "../../net/socket/types.ts";
import { runtime } from "../../base/runtime.ts";

const CLOSED = "BadResource: Bad resource ID";
const GROUP = "224.0.1.199";
const GROUP6 = "ff05::1:3";

/** Whether Deno can listen on IPv6 at all here. */
function kernelHasIpv6(): boolean {
  try {
    deno!.listenDatagram({ hostname: "::", port: 0, transport: "udp" }).close();
    return true;
  } catch {
    return false;
  }
}

let certificate: Certificate | undefined;
/** Made once, for whoever listens in either network. */
function certified(): Certificate {
  return certificate ??= makeCertificate(["127.0.0.1", "10.0.0.1"]);
}

for (const { name, there, make } of NETS) {
  describe.skipIf(!there)(name, () => {
    let net: DenoNet;
    beforeEach(() => void (net = make()));

    test("one accept waits at a time, and the next one may when it is over", async () => {
      const listener = net.server.listen({ hostname: net.hostname, port: 0 });
      const first = listener.accept();
      expect(await refusal(listener.accept())).toBe("Busy: Another accept task is ongoing");
      const { port } = listener.addr;
      const here = await net.client.connect({ hostname: net.hostname, port });
      (await first).close();
      const second = refusal(listener.accept());
      listener.close();
      expect(await second).toMatch(/^(BadResource|Interrupted): /);
      here.close();
    });

    test("leaving a loop over a listener closes it", async () => {
      const listener = net.server.listen({ hostname: net.hostname, port: 0 });
      const here = await net.client.connect({ hostname: net.hostname, port: listener.addr.port });
      for await (const conn of listener) {
        conn.close();
        break;
      }
      expect(await refusal(() => listener.close())).toBe(CLOSED);
      for await (const _ of listener) throw new Error("It is closed");
      here.close();
    });

    test("ports that are none are refused by the same words", async () => {
      for (const port of [-1, 65_536]) {
        const text = `RangeError: Invalid port (out of range): ${port}`;
        expect(await refusal(() => net.server.listen({ hostname: net.hostname, port }))).toBe(text);
        expect(await refusal(net.client.connect({ hostname: net.hostname, port }))).toBe(text);
      }
      expect(await refusal(net.client.connect({ hostname: net.hostname, port: 0 }))).toBe(
        "RangeError: Invalid port (out of range): 0",
      );
    });

    test("addresses of nobody here are not available", async () => {
      const elsewhere = { hostname: "203.0.113.7", port: 0 };
      expect(await refusal(() => net.server.listen(elsewhere))).toMatch(/^AddrNotAvailable: /);
      if (net.server.listenDatagram === undefined) return; // Deno without --unstable-net
      expect(await refusal(() => net.server.listenDatagram({ ...elsewhere, transport: "udp" }))).toMatch(
        /^AddrNotAvailable: /,
      );
    });

    test("two reads at once are served in order; options of a closed connection are refused", async () => {
      const listener = net.server.listen({ hostname: net.hostname, port: 0 });
      const here = await net.client.connect({ hostname: net.hostname, port: listener.addr.port });
      const other = await listener.accept();
      const counts: (number | null)[] = [];
      const reads = [3, 4].map(async (length) => {
        const buffer = new Uint8Array(length);
        for (let got = 0; got < length;) {
          const count = await other.read(buffer.subarray(got, got + 1));
          counts.push(count);
          got += count!;
        }
      });
      await writeAll(here, patterned(7));
      await Promise.all(reads);
      expect(counts).toEqual(Array(7).fill(1));
      here.ref();
      here.unref();
      here.setNoDelay();
      here.setKeepAlive(true);
      const { remoteAddr } = here;
      here.close();
      here.ref();
      here.unref();
      expect(here.remoteAddr).toEqual(remoteAddr);
      expect(await refusal(() => here.setNoDelay())).toBe(CLOSED);
      expect(await refusal(() => here.setKeepAlive())).toBe(CLOSED);
      expect(await refusal(here.readable.getReader().read())).toMatch(/^BadResource: /);
      expect(await refusal(here.writable.getWriter().write(patterned(1)))).toMatch(/^BadResource: /);
      expect(await other.read(new Uint8Array(1))).toBe(null);
      other.close();
      listener.close();
    });

    test("a signal that comes too late changes nothing, one that is there rejects", async () => {
      const listener = net.server.listen({ hostname: net.hostname, port: 0 });
      const control = new AbortController();
      const target = { hostname: net.hostname, port: listener.addr.port, signal: control.signal };
      const here = await net.client.connect(target);
      control.abort();
      await writeAll(here, patterned(5));
      const other = await listener.accept();
      expect(await other.read(new Uint8Array(9))).toBe(5);
      expect(await refusal(net.client.connect(target))).toMatch(/^AbortError: /);
      for (const each of [here, other, listener]) each.close();
    });

    test.skipIf(name === "Deno's" && deno?.listenDatagram === undefined)(
      "a group is joined once, has its own hops and loopback, and is left once",
      async () => {
        const { hostname } = net;
        const here = net.server.listenDatagram({ hostname, port: 0, transport: "udp" });
        expect(await refusal(here.joinMulticastV4("10.1.2.3", hostname))).toMatch(/^TypeError: /);
        expect(await refusal(here.joinMulticastV4("no address", hostname))).toMatch(/^\w*Error: /);
        const membership = await here.joinMulticastV4(GROUP, hostname);
        expect(await refusal(here.joinMulticastV4(GROUP, hostname))).toMatch(/^AddrInUse: /);
        await membership.setTTL(3);
        await membership.setLoopback(true);
        expect(await refusal(membership.setTTL(300))).toMatch(/^TypeError: /);
        await membership.leave();
        expect(await refusal(membership.leave())).toMatch(/^AddrNotAvailable: /);
        const to = { hostname, port: 0, transport: "udp" } as const;
        expect(await refusal(here.send(patterned(1), to))).toMatch(/^TypeError: /);
        const receiving = refusal(here.receive());
        here.close();
        expect(await receiving).toBe("Interrupted: operation canceled");
        expect(await refusal(here.receive())).toBe("BadResource: Socket has been closed");
        expect(await refusal(here.joinMulticastV4(GROUP, hostname))).toBe(
          "BadResource: Socket has been closed",
        );
      },
    );

    test.skipIf(name === "Deno's" && !kernelHasIpv6())(
      "an IPv6 group is joined once, and left once",
      async () => {
        const here = net.server.listenDatagram({ hostname: "::", port: 0, transport: "udp" });
        expect(await refusal(here.joinMulticastV6("2001:db8::1", 0))).toMatch(/^TypeError: /); // is no group's
        expect(await refusal(here.joinMulticastV6("10.1.2.3", 0))).toMatch(/^\w*Error: /);
        expect(await refusal(here.joinMulticastV6("no address", 0))).toMatch(/^\w*Error: /);
        const membership = await here.joinMulticastV6(GROUP6, 0);
        expect(await refusal(here.joinMulticastV6(GROUP6, 0))).toMatch(/^AddrInUse: /);
        await membership.setLoopback(true);
        await membership.leave();
        expect(await refusal(membership.leave())).toMatch(/^AddrNotAvailable: /);
        await (await here.joinMulticastV6(GROUP6, 0)).leave(); // and joined again
        expect(await refusal(here.joinMulticastV6(GROUP6, 77))).not.toBe(""); // there is no such interface
        here.close();
        expect(await refusal(here.joinMulticastV6(GROUP6, 0))).toBe("BadResource: Socket has been closed");
      },
    );

    async function secured(): Promise<{ here: TlsConn; there: TlsConn; close: () => void }> {
      const { key, cert, ca } = certified();
      const alpnProtocols = ["h2", "chat"];
      const listener = net.server.listenTls({ hostname: net.hostname, port: 0, key, cert, alpnProtocols });
      const accepted = listener.accept();
      const here = await net.client.connectTls({
        hostname: net.hostname,
        port: listener.addr.port,
        caCerts: [ca],
        alpnProtocols: ["chat"],
      });
      return { here, there: await accepted, close: () => listener.close() };
    }

    judge(`${name}: a TLS connection is there before its handshake, and says what was agreed on`, [
      "openssl",
    ], async () => {
      const { here, there, close } = await secured();
      expect(await Promise.all([here.handshake(), there.handshake()])).toEqual([
        { alpnProtocol: "chat" },
        { alpnProtocol: "chat" },
      ]);
      expect(await there.handshake()).toEqual({ alpnProtocol: "chat" }); // again
      expect(here.remoteAddr).toEqual(there.localAddr);
      expect(there.remoteAddr).toEqual(here.localAddr);
      const bytes = patterned(300_000);
      const [got] = await Promise.all([
        readExactly(there, bytes.length),
        writeAll(here, bytes),
      ]);
      expect(got.every((byte, at) => byte === bytes[at])).toBe(true);
      expect(await there.read(new Uint8Array(0))).toBe(0);
      const reading = refusal(here.read(new Uint8Array(8)));
      here.close();
      expect(await reading).toBe("Interrupted: operation canceled");
      expect(await refusal(here.read(new Uint8Array(8)))).toBe(CLOSED);
      expect(await refusal(here.write(new Uint8Array(8)))).toBe(CLOSED);
      expect(await refusal(here.closeWrite())).toBe(CLOSED);
      expect(await refusal(here.handshake())).toMatch(/^BadResource: /);
      expect(await refusal(() => here.close())).toBe(CLOSED);
      here[Symbol.dispose]();
      expect(await there.read(new Uint8Array(8))).toBe(null);
      there.close();
      close();
    });

    // Bun's TLS closes both directions when one is closed.
    judge(`${name}: half-close in TLS`, ["openssl"], async () => {
      if (runtime === "bun") return;
      const { here, there, close } = await secured();
      await writeAll(here, patterned(10));
      await here.closeWrite();
      await here.closeWrite();
      expect(await refusal(here.write(patterned(1)))).toBe("NotConnected: not connected");
      expect(await readAll(there)).toEqual(patterned(10));
      await writeAll(there, patterned(9, 1));
      there.close();
      expect(await readAll(here)).toEqual(patterned(9, 1));
      here.close();
      close();
    });

    judge(`${name}: a TLS connection as streams`, ["openssl"], async () => {
      const { here, there, close } = await secured();
      const echoing = there.readable.pipeTo(there.writable);
      const writer = here.writable.getWriter();
      await writer.write(patterned(20));
      const reader = here.readable.getReader();
      expect((await reader.read()).value).toEqual(patterned(20));
      await writer.close();
      expect(await refusal(() => here.close())).toBe(CLOSED);
      await echoing.catch(() => {}); // whether the other half was still open
      close();
    });

    judge(`${name}: startTls uses a connection up`, ["openssl"], async () => {
      const { key, cert, ca } = certified();
      const listener = net.server.listenTls({ hostname: net.hostname, port: 0, key, cert });
      const plain: TcpConn = await net.client.connect({ hostname: net.hostname, port: listener.addr.port });
      const there = await listener.accept();
      const here = await net.client.startTls(plain, { hostname: "torpor.test", caCerts: [ca] });
      expect(await here.handshake()).toEqual({ alpnProtocol: null });
      expect(await refusal(plain.read(new Uint8Array(1)))).toBe(CLOSED);
      expect(await refusal(plain.write(new Uint8Array(1)))).toBe(CLOSED);
      expect(await refusal(() => plain.close())).toBe(CLOSED);
      expect(await refusal(net.client.startTls(plain))).toBe(CLOSED);
      await writeAll(there, patterned(3));
      expect(await here.read(new Uint8Array(8))).toBe(3);
      for (const each of [here, there, listener]) each.close();
    });

    judge(`${name}: who cannot be believed is refused, at the first use`, ["openssl"], async () => {
      const { key, cert, ca } = certified();
      const listener = net.server.listenTls({
        hostname: net.hostname,
        port: 0,
        key,
        cert,
        alpnProtocols: ["chat"],
      });
      const { port } = listener.addr;
      const attempt = async (options: object, hostname: string): Promise<string> => {
        const plain = await net.client.connect({ hostname: net.hostname, port });
        const there = await listener.accept();
        const here = await net.client.startTls(plain, { hostname, ...options });
        const why = await refusal(here.handshake());
        expect(await refusal(here.read(new Uint8Array(1))), "and again").toBe(why);
        here.close();
        there.close();
        return why;
      };
      expect(await attempt({}, "torpor.test")).toBe("InvalidData: invalid peer certificate: UnknownIssuer");
      expect(await attempt({ caCerts: [ca] }, "other.test")).toMatch(
        /^InvalidData: invalid peer certificate: certificate not valid for /,
      );
      const none = await attempt({ caCerts: [ca], alpnProtocols: ["gopher"] }, "torpor.test");
      // Deno's node:tls swallows the alert.
      if (name === "ours" && runtime === "deno") expect(none).toMatch(/^UnexpectedEof: /);
      else expect(none).toBe("InvalidData: received fatal alert: NoApplicationProtocol");
      listener.close();
    });

    judge(`${name}: what is no TLS is refused; so are keys that are none`, ["openssl"], async () => {
      const { key, cert } = certified();
      const options = { hostname: net.hostname, port: 0 };
      const listener = net.server.listenTls({ ...options, key, cert });
      const { port } = listener.addr;
      const plain = await net.client.connect({ hostname: net.hostname, port });
      await writeAll(plain, new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"));
      const there = await listener.accept();
      expect(await refusal(there.handshake())).toBe(
        "InvalidData: received corrupt message of type InvalidContentType",
      );
      const silent = await net.client.connect({ hostname: net.hostname, port });
      const other = await listener.accept();
      silent.close();
      expect(await refusal(other.handshake())).toBe("UnexpectedEof: unexpected end of file");
      expect(await refusal(() => net.server.listenTls({ ...options, key: "x", cert }))).toBe(
        "InvalidData: No keys found in key data",
      );
      expect(await refusal(() => net.server.listenTls({ ...options, key, cert: "x" }))).toBe(
        "InvalidData: No certificates found in certificate data",
      );
      const accepting = refusal(listener.accept());
      listener.close();
      expect(await accepting).toMatch(/^(BadResource|Interrupted): /);
      expect(await refusal(listener.accept())).toBe("BadResource: Listener has been closed");
      expect(await refusal(() => listener.close())).toBe(CLOSED);
      const nobody = net.client.connectTls({ hostname: net.hostname, port });
      expect(await refusal(nobody)).toMatch(/^ConnectionRefused: /);
      for (const each of [plain, there, other]) each.close();
    });
  });
}

async function readExactly(conn: TlsConn, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length;) {
    const count = await conn.read(bytes.subarray(at));
    if (count === null) throw new Error(`It ended after ${at} bytes`);
    at += count;
  }
  return bytes;
}
