/**
 * Run in a namespace by tun.test.ts: answers pings and ARP requests until its input ends.
 * Arguments: interface, mode, way to wait or "auto", MTU. What is long is answered from two or three places. Prints a line of JSON when it is up and one at the end.
 */
import process from "node:process";
import { ByteRing } from "../../../base/ring.ts";
import type { Slab } from "../../../base/slab.ts";
import { Tail } from "../../../base/tail.ts";
import { LinkError } from "../../../net/link/link_error.ts";
import { openTun, type OpenTunOptions, type TunLink } from "../../../net/link/tun.ts";

const [name = "tor0", mode = "tun", wait = "auto", mtu = "1500"] = process.argv.slice(2);
const LONG_BYTES = 9_000;
const ring = new ByteRing();
const tail = new Tail();
let wrapped = 0;
const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

try {
  await respond();
} catch (error) {
  if (!(error instanceof LinkError)) throw error;
  say({ error: { name: error.name, code: error.code, message: error.message } });
}

/** Whoever has waited for the end of a link can have its interface. */
async function reopen(link: TunLink, options: OpenTunOptions): Promise<void> {
  for (let times = 1; times <= 3; times++) {
    await link.close();
    link = await openTun(options);
  }
  await link.close();
  say({ reopened: link.name });
}

async function respond(): Promise<void> {
  const options = { name, mode, mtu: Number(mtu) } as OpenTunOptions;
  if (wait !== "auto") options.wait = wait as NonNullable<OpenTunOptions["wait"]>;
  const link = await openTun(options);
  const ipAt = mode === "tap" ? 14 : 0;
  let flushes = 0;
  link.open({
    receive: (slab, start, end) => {
      if (mode === "tap" && answerArp(slab, start)) link.send(slab, start, end);
      else if (answerPing(slab, start + ipAt, start)) {
        if (end - start > LONG_BYTES) sendFromRing(link, slab, start, end);
        else link.send(slab, start, end);
      }
    },
    flush: () => void flushes++,
    closed: (error) => {
      say({ closed: true, error: error?.message, flushes, wrapped, counters: link.counters });
    },
  });
  say({ name: link.name, wait: link.wait });
  process.stdin.on("end", () => void reopen(link, options));
  process.stdin.resume();
}

/** Sends what lies behind the headers from a ring, which begins again somewhere within it, as a rule. */
function sendFromRing(link: TunLink, slab: Slab, start: number, end: number): void {
  const headersEnd = start + 28;
  ring.append(slab.bytes, headersEnd, end);
  if (!ring.locate(0, ring.length, tail)) throw new Error("The ring lies in the packet memory");
  if (tail.restBytes > 0) wrapped++;
  slab.bytes.fill(0, headersEnd, end);
  link.sendGathered!(slab, start, end, 0, tail);
  ring.drop(ring.length, true);
}

/** Turns an ICMP echo request into its reply; the sum of both is known from the difference of one byte. */
function answerPing({ bytes, view }: Slab, ip: number, frame: number): boolean {
  const icmp = ip + (bytes[ip]! & 15) * 4;
  if (bytes[ip]! >> 4 !== 4 || bytes[ip + 9] !== 1 || bytes[icmp] !== 8) return false;
  for (let at = 0; at < 4; at++) swap(bytes, ip + 12 + at, ip + 16 + at);
  if (frame !== ip) { for (let at = 0; at < 6; at++) swap(bytes, frame + at, frame + 6 + at); }
  bytes[icmp] = 0;
  const sum = view.getUint16(icmp + 2) + 0x0800;
  view.setUint16(icmp + 2, (sum & 0xffff) + (sum >>> 16));
  return true;
}

/** Turns an ARP request for anybody into our reply. */
function answerArp({ bytes, view }: Slab, frame: number): boolean {
  if (view.getUint16(frame + 12) !== 0x0806 || view.getUint16(frame + 20) !== 1) return false;
  for (let at = 0; at < 10; at++) swap(bytes, frame + 22 + at, frame + 32 + at);
  bytes.set([2, 0, 0, 0, 0, 1], frame + 22);
  bytes.copyWithin(frame, frame + 32, frame + 38);
  bytes.copyWithin(frame + 6, frame + 22, frame + 28);
  bytes[frame + 21] = 2;
  return true;
}

function swap(bytes: Uint8Array, a: number, b: number): void {
  const kept = bytes[a]!;
  bytes[a] = bytes[b]!;
  bytes[b] = kept;
}
