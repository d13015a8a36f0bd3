import { expect, test } from "vitest";
import type { Connection } from "../../../net/socket/connection.ts";
import { StackSocket } from "../../../net/socket/stack_socket.ts";
import type { Trouble } from "../../../net/socket/types.ts";
import { IcmpType, IcmpUnreachable } from "../../../net/wire/icmp.ts";
import { Drop } from "../../../net/wire/drop.ts";
import { SERVER, settled, virtualPair } from "./world.ts";

test("options of a listener and of a connect hold from the first packet on", async () => {
  const { clock, server, client } = virtualPair();
  const listener = server.listen({ port: 80, tcpOptions: { mssMax: 700, timeToLive: 9, noDelay: true } });
  const accepted = listener.accept();
  const conn = await settled(
    clock,
    client.connect({ hostname: SERVER, port: 80, tcpOptions: { dscp: 10, mssMax: 600 } }),
  );
  const served = await settled(clock, accepted);
  expect(await settled(clock, served.options())).toMatchObject({ mssMax: 700, timeToLive: 9, noDelay: true });
  expect(await settled(clock, conn.options())).toMatchObject({ mssMax: 600, dscp: 10, noDelay: false });
  expect(await settled(clock, conn.info())).toMatchObject({ state: 1, sndMss: 588, advmss: 588 });
  expect((await settled(clock, served.info())).sndMss).toBe(588);
  listener.setOptions({ dscp: 4 });
  const second = listener.accept();
  await settled(clock, client.connect({ hostname: SERVER, port: 80 }));
  expect(await (await settled(clock, second)).options()).toMatchObject({ mssMax: 700, dscp: 4 });
  conn.setOptions({ userTimeoutMs: 5_000 });
  expect(await conn.options()).toMatchObject({ userTimeoutMs: 5_000, dscp: 10 });
});

test("options that make no sense are refused where they are given", async () => {
  const { clock, server, client } = virtualPair();
  const bad = { timeToLive: 0 };
  expect(() => server.listen({ port: 80, tcpOptions: bad })).toThrow(RangeError);
  const listener = server.listen({ port: 80 }); // and the port was not taken
  expect(() => listener.setOptions(bad)).toThrow(RangeError);
  await expect(client.connect({ hostname: SERVER, port: 80, tcpOptions: bad })).rejects.toThrow(RangeError);
  const conn = await settled(clock, client.connect({ hostname: SERVER, port: 80 }));
  expect(() => conn.setOptions(bad)).toThrow(RangeError);
  const socket = new StackSocket(client, conn.endpoint);
  expect(() => socket.setOptions(bad)).toThrow(RangeError);
  expect(socket.setOptions({ timeToLive: 5 })).toBe(socket);
  expect((await conn.options()).timeToLive).toBe(5);
  conn.endpoint.abort();
  await clock.runUntil(() => false, 10);
  await expect(conn.info()).rejects.toThrow();
});

test("urgent data: the reader is told how far it reaches, and reads it in line (MUST-32, MUST-33)", async () => {
  const { clock, server, client } = virtualPair();
  const accepted = server.listen({ port: 80 }).accept();
  const conn = await settled(clock, client.connect({ hostname: SERVER, port: 80 }));
  const served = await settled(clock, accepted);
  const told: number[] = [];
  served.onUrgent = (bytes) => void told.push(bytes);
  await conn.write(new Uint8Array(10));
  await settled(clock, conn.sendUrgent(Uint8Array.of(1, 2, 3)));
  await conn.write(new Uint8Array(5));
  await clock.runUntil(() => false, 100);
  expect(told.length).toBe(1);
  expect(served.urgentBytes).toBe(13);
  const buffer = new Uint8Array(12);
  expect(await settled(clock, served.read(buffer))).toBe(12);
  expect([...buffer.subarray(10)]).toEqual([1, 2]);
  expect(served.urgentBytes).toBe(1);
  expect(await settled(clock, served.read(buffer))).toBe(6);
  expect(served.urgentBytes).toBe(0);
});

test("records: each begins a segment of its own, and the reader has one stream", async () => {
  const { clock, server, client } = virtualPair();
  const accepted = server.listen({ port: 80 }).accept();
  const conn = await settled(clock, client.connect({ hostname: SERVER, port: 80 }));
  const served = await settled(clock, accepted);
  const segments = async (): Promise<number> => (await settled(clock, conn.info())).dataSegsOut;
  const writes = [
    conn.sendRecord(Uint8Array.of(1)),
    conn.sendRecord(Uint8Array.of(2, 3)),
    conn.write(Uint8Array.of(4)),
  ];
  await settled(clock, Promise.all(writes));
  await clock.runUntil(() => false, 100);
  expect(await segments()).toBe(3);
  const buffer = new Uint8Array(9);
  expect(await settled(clock, served.read(buffer))).toBe(4);
  expect([...buffer.subarray(0, 4)]).toEqual([1, 2, 3, 4]);
  await settled(clock, Promise.all([1, 2, 3].map((byte) => conn.write(Uint8Array.of(byte)))));
  await clock.runUntil(() => false, 100);
  expect(await segments()).toBe(4); // without records they are put together
  const large = 1 << 20; // longer than the send buffer
  const read = (async () => {
    const target = new Uint8Array(1 << 16);
    for (let count = 0; count < large + 3;) count += (await served.read(target))!;
  })();
  await settled(clock, Promise.all([conn.sendRecord(new Uint8Array(large)), read]));
});

test("MUST-47, SHLD-25, SHLD-20: soft ICMP errors reach the application that asks, and end nothing", async () => {
  const { clock, server, client } = virtualPair();
  const accepted = server.listen({ port: 80 }).accept();
  const conn = await settled(clock, client.connect({ hostname: SERVER, port: 80 }));
  await settled(clock, accepted);
  const troubles: Trouble[] = [];
  server.stack.receive = () => Drop.None; // deaf from now on
  await conn.write(new Uint8Array(10));
  await clock.runUntil(() => false, 100); // not asked for yet: not reported
  conn.onTrouble = (trouble) => void troubles.push(trouble);
  const [tcb] = [...client.stack.tcp.tcbs()];
  tcb!.softError = (IcmpType.Unreachable << 8) | IcmpUnreachable.Host;
  await clock.runUntil(() => false, 5_000);
  expect(troubles).toEqual([{ retransmits: 3, icmp: { type: 3, code: 1 } }]);
});

test("handlers: options, numbers, urgent data and trouble, by connection", async () => {
  const { clock, server, client } = virtualPair();
  const urgent: number[] = [];
  let connection: Connection | undefined;
  server.serve({
    port: 80,
    tcpOptions: { dscp: 8 },
    open: (each) => void (connection = each),
    urgent: (_, bytes) => void urgent.push(bytes),
    data: (each, bytes) => void each.sendUrgent(bytes.slice()),
  });
  const conn = await settled(clock, client.connect({ hostname: SERVER, port: 80 }));
  await clock.runUntil(() => false, 10);
  connection!.setOptions({ timeToLive: 3 });
  expect(connection!.options()).toMatchObject({ dscp: 8, timeToLive: 3 });
  expect(() => connection!.setOptions({ timeToLive: 300 })).toThrow(RangeError);
  expect(connection!.info()).toMatchObject({ state: 1, bytesReceived: 0 });
  await settled(clock, conn.sendUrgent(new Uint8Array(4)));
  await clock.runUntil(() => false, 100);
  expect(urgent).toEqual([4]);
  expect(connection!.info()).toMatchObject({ bytesReceived: 4 });
  expect(conn.urgentBytes).toBe(4);
});
