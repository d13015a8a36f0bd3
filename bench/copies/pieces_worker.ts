/**
 * `pieces_worker.ts INTERFACE`: what it takes to have the kernel take a packet from one place, or from two. Asked `HOW BYTES
 * COUNT` on its standard input, `whole` or `pieces`, it answers with the processor time of each packet, in nanoseconds.
 */
import process from "node:process";
import { createInterface } from "node:readline";
import { ByteRing } from "../../base/ring.ts";
import { Slab } from "../../base/slab.ts";
import { copyTail, Tail } from "../../base/tail.ts";
import { openTun, type TunLink } from "../../net/link/tun.ts";
import { parseIpv4 } from "../../net/wire/address.ts";
import { Ipv4Record, PROTOCOL_TCP, writeIpv4 } from "../../net/wire/ipv4.ts";
import { WHOLE_SEGMENT } from "../../net/wire/train.ts";
import { tell } from "../worker.ts";

const MSS = 1_448;
const START = 64;
const HEADERS = 52;
const RING_BYTES = 64 << 10;

const link = await openTun({ name: process.argv[2]! });
link.open({ trains: true, receive() {}, flush() {}, closed() {} });
(link as TunLink & { writevBytesMin: number }).writevBytesMin = 0;
const slab = Slab.forPackets(START + 0xffff);
const ring = new ByteRing(), tail = new Tail();
ring.append(new Uint8Array(RING_BYTES), 0, RING_BYTES);

/** To an address that the kernel throws packets away for. */
function headers(bytes: number): void {
  const ip = new Ipv4Record();
  ip.source = parseIpv4("10.9.0.2")!;
  ip.destination = parseIpv4("10.9.1.1")!;
  ip.protocol = PROTOCOL_TCP;
  ip.timeToLive = 64;
  ip.dontFragment = true;
  writeIpv4(ip, slab, START, HEADERS - 20 + bytes);
  slab.view.setUint8(START + 32, 0x80);
}

function send(how: string, bytes: number, count: number): void {
  const end = START + HEADERS + bytes;
  const segmentBytes = bytes > MSS ? MSS : WHOLE_SEGMENT;
  for (let at = 0; at < count; at++) {
    ring.locate((at * 977) & 0x7fff & (RING_BYTES - bytes - 1), bytes, tail);
    if (how === "whole") {
      copyTail(tail, slab, end - bytes);
      link.send(slab, START, end, segmentBytes);
    } else link.sendGathered!(slab, START, end, segmentBytes, tail);
  }
}

createInterface({ input: process.stdin }).on("line", (line) => {
  const [how, bytes, count] = line.split(" ") as [string, string, string];
  headers(Number(bytes));
  const before = process.cpuUsage();
  send(how, Number(bytes), Number(count));
  const { user, system } = process.cpuUsage(before);
  tell((user + system) * 1_000 / Number(count));
}).on("close", () => process.exit(0));
tell("serves");
