/**
 * What reading alone can do: `bare_worker.ts INTERFACE ADDRESS OFFLOADS` answers the kernel's TCP by hand, one connection
 * at a time, without timers, checks or a copy of the data. Asked on its standard input it says how many bytes have come.
 */
import process from "node:process";
import { createInterface } from "node:readline";
import { Slab } from "../../base/slab.ts";
import { openTun } from "../../mod.ts";
import { parseIpv4 } from "../../net/wire/address.ts";
import { Ipv4Record, PROTOCOL_TCP, readIpv4, writeIpv4 } from "../../net/wire/ipv4.ts";
import { finishTcpChecksum, readTcp, TcpFlag, TcpRecord, writeTcp } from "../../net/wire/tcp.ts";
import { spent, tell } from "../worker.ts";

const ANSWER_AT = 64;
const SCALE = 7;

const [name, address, offloads] = process.argv.slice(2) as [string, string, string];
const own = parseIpv4(address.split("/")[0]!)!;
const link = await openTun({ name, offloads: offloads === "true" });
const ip = new Ipv4Record(), segment = new TcpRecord(), slab = Slab.of(256);
let expected = 0, bytes = 0, owed = false;

function answer(flags: number): void {
  const { sourcePort, source } = { sourcePort: segment.sourcePort, source: ip.source };
  const reply = new TcpRecord();
  reply.sourcePort = segment.destinationPort;
  reply.destinationPort = sourcePort;
  reply.sequence = flags & TcpFlag.SYN ? 0 : 1;
  reply.acknowledgment = expected;
  reply.flags = flags | TcpFlag.ACK;
  reply.window = 0xffff;
  reply.mss = 1460;
  reply.windowScale = SCALE;
  const end = writeTcp(reply, slab, ANSWER_AT + 20);
  finishTcpChecksum(slab, ANSWER_AT + 20, end, own, source);
  const header = new Ipv4Record();
  header.source = own;
  header.destination = source;
  header.protocol = PROTOCOL_TCP;
  header.timeToLive = 64;
  writeIpv4(header, slab, ANSWER_AT, end - ANSWER_AT - 20);
  link.send(slab, ANSWER_AT, end);
}

link.open({
  trains: true,
  receive(frame, start, end) {
    if (frame.view.getUint8(start) >>> 4 !== 4) return;
    if (readIpv4(frame, start, end, ip) !== 0 || ip.protocol !== PROTOCOL_TCP) return;
    if (readTcp(frame, ip.dataStart, ip.dataEnd, segment) !== 0) return;
    if ((segment.flags & TcpFlag.SYN) !== 0) {
      expected = (segment.sequence + 1) | 0;
      return answer(TcpFlag.SYN);
    }
    const length = segment.dataEnd - segment.dataStart;
    if (segment.sequence === expected) {
      expected = (expected + length + (segment.flags & TcpFlag.FIN ? 1 : 0)) | 0;
      bytes += length;
    }
    if (length > 0 || (segment.flags & TcpFlag.FIN) !== 0) owed = true;
  },
  flush() {
    if (!owed) return;
    owed = false;
    answer(0);
  },
  closed() {},
});
createInterface({ input: process.stdin }).on("line", () => tell(spent(bytes))).on(
  "close",
  () => process.exit(0),
);
tell("serves");
