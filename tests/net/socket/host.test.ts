import { expect, test, vi } from "vitest";
import { VirtualClock } from "../../../base/clock.ts";
import { Prng } from "../../../base/random.ts";
import type { Link, LinkSink } from "../../../net/link/link.ts";
import { pipe } from "../../../net/link/pipe.ts";
import { Host } from "../../../net/socket/host.ts";
import type { HostOptions } from "../../../net/socket/host_options.ts";
import { CLIENT, patterned, refusal, SERVER, settled, uncaught, virtualPair } from "./world.ts";

/** A host whose link ends when the test says so. */
function hostOnFraying(options: Partial<HostOptions> = {}): {
  clock: VirtualClock;
  host: Host;
  end: (error?: Error) => void;
} {
  const clock = new VirtualClock();
  const [link] = pipe({ clock, medium: "ip" });
  let sink: LinkSink | undefined;
  const fraying: Link = {
    medium: link.medium,
    mtu: link.mtu,
    counters: link.counters,
    open: (theirs) => void (sink = theirs),
    send: () => false,
    flush: () => {},
    close: () => sink?.closed(), // at once, where others take their time
  };
  const host = new Host({
    interfaces: [{ link: fraying, name: "up0" }],
    addresses: [{ address: `${SERVER}/24` }],
    clock,
    entropy: new Prng(1),
    ...options,
  });
  return { clock, host, end: (error) => sink!.closed(error) };
}

test("a link that ends is told once with its name and error, not when the host closes it", async () => {
  const told: [string, Error | undefined][] = [];
  const onLinkClosed = (name: string, error: Error | undefined): void => void told.push([name, error]);
  const error = new Error("the wire was cut");
  const first = hostOnFraying({ onLinkClosed });
  first.end(error);
  expect(told).toEqual([["up0", error]]);
  const second = hostOnFraying({ onLinkClosed });
  second.end();
  expect(told.slice(1)).toEqual([["up0", undefined]]);
  hostOnFraying({ onLinkClosed }).host.close();
  expect(told).toHaveLength(2);

  const { server, client, clock } = virtualPair({ onLinkClosed });
  client.close(); // the far end of the pipe
  await clock.advance(10);
  expect(told.slice(2)).toEqual([["net0", undefined]]);
  server.close();
  await clock.advance(10);
  expect(told).toHaveLength(3);
});

test("without a callback an error is printed, and a peaceful end is not", () => {
  const printed = vi.spyOn(console, "error").mockImplementation(() => {});
  try {
    hostOnFraying().end();
    expect(printed.mock.calls).toEqual([]);
    const error = new Error("the wire was cut");
    hostOnFraying().end(error);
    expect(printed.mock.calls).toEqual([['Link "up0" has ended:', error]]);
  } finally {
    printed.mockRestore();
  }
});

test("a callback that throws does not break the link, and its error is heard of", async () => {
  const thrown = uncaught();
  const { end } = hostOnFraying({
    onLinkClosed: () => {
      throw new Error("a bug");
    },
  });
  end();
  await new Promise((resolve) => setTimeout(resolve, 0));
  expect(thrown.map(String)).toEqual(["Error: a bug"]);
});

test("without links a host waits as with a pulled cable, times out, and still reaches itself", async () => {
  const { clock, host, end } = hostOnFraying({ onLinkClosed: () => {} });
  const listener = host.listen({ port: 80 });
  const accepting = listener.accept();
  const datagrams = host.listenDatagram({ port: 53 });
  const receiving = datagrams.receive();
  const away = refusal(host.connect({ hostname: CLIENT, port: 80 }));
  end(new Error("the wire was cut"));
  await clock.advance(1_000);
  const conn = await settled(clock, host.connect({ port: 80 }));
  expect((await settled(clock, accepting)).remoteAddr).toEqual(conn.localAddr);
  await datagrams.send(patterned(3), { transport: "udp", hostname: SERVER, port: 53 });
  expect((await settled(clock, receiving))[0]).toEqual(patterned(3));
  expect(await settled(clock, away)).toMatch(/^TimedOut: /);
  host.close();
});

test("connect without a hostname means this host, at the first of its addresses", async () => {
  const { server, clock } = virtualPair({
    addresses: [{ address: `${SERVER}/24` }, { address: "10.0.0.3/24" }],
  });
  const accepting = server.listen({ port: 80 }).accept();
  const conn = await settled(clock, server.connect({ port: 80 }));
  const accepted = await settled(clock, accepting);
  expect(conn.remoteAddr).toEqual({ transport: "tcp", hostname: SERVER, port: 80 });
  await conn.write(patterned(5));
  const buffer = new Uint8Array(9);
  expect(await settled(clock, accepted.read(buffer))).toBe(5);
  expect(buffer.subarray(0, 5)).toEqual(patterned(5));

  const nameless = virtualPair({ addresses: [], subnets: ["10.8.0.0/16"] }).server;
  expect(await refusal(nameless.connect({ port: 80 }))).toBe(
    "TypeError: Cannot connect without a hostname: this host has no address of its own",
  );
});

test("loopback is refused with what to do instead, unless the host owns it", async () => {
  const { server } = virtualPair();
  const hint = "loopback is the machine's, not this host's; leave the hostname out to reach this host";
  expect(await refusal(server.connect({ hostname: "127.0.0.1", port: 80 }))).toBe(
    `NetworkUnreachable: Cannot connect to 127.0.0.1:80: ${hint}`,
  );
  expect(await refusal(server.connect({ hostname: "localhost", port: 80 }))).toBe(
    `TypeError: "localhost" is not reached here: ${hint}`,
  );
  expect(await refusal(() => server.listen({ hostname: "localhost" }))).toContain(hint);

  const owner = virtualPair({ addresses: [{ address: "127.0.0.1/8" }] });
  const accepting = owner.server.listen({ port: 80, hostname: "127.0.0.1" }).accept();
  await settled(owner.clock, owner.server.connect({ hostname: "127.0.0.1", port: 80 }));
  await settled(owner.clock, accepting);
});
