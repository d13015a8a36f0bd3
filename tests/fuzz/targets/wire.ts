import { assert } from "../../../base/assert.ts";
import { Slab } from "../../../base/slab.ts";
import { ArpRecord, readArp, writeArp } from "../../../net/wire/arp.ts";
import { Drop } from "../../../net/wire/drop.ts";
import { EthernetRecord, readEthernet, writeEthernet } from "../../../net/wire/ethernet.ts";
import { IcmpRecord, readIcmp, writeIcmp } from "../../../net/wire/icmp.ts";
import { Icmpv6Record, readIcmpv6 } from "../../../net/wire/icmpv6.ts";
import { IgmpRecord, readIgmp } from "../../../net/wire/igmp.ts";
import { hasSourceRoute, Ipv4Record, readIpv4, readQuotedIpv4, writeIpv4 } from "../../../net/wire/ipv4.ts";
import { Ipv6Record, readIpv6, readQuotedIpv6 } from "../../../net/wire/ipv6.ts";
import { MldRecord, readMld } from "../../../net/wire/mld.ts";
import { NdpRecord, readNdp } from "../../../net/wire/ndp.ts";
import { formatPacket } from "../../../net/wire/print.ts";
import { readTcp, tcpHeaderLength, TcpRecord, writeTcp } from "../../../net/wire/tcp.ts";
import { TCP_OPTIONS_LENGTH_MAX } from "../../../net/wire/tcp_options.ts";
import { readUdp, UdpRecord, writeUdp } from "../../../net/wire/udp.ts";
import { frames, hex, mendChecksum, packets, payloads } from "../packets.ts";
import { readPlaced, same } from "../placed.ts";
import type { Target } from "../target.ts";

const JUDGE = "the same among other neighbours, inside the packet, refused without a trace";

function ethernet(input: Uint8Array): void {
  const { drop, record, slab } = readPlaced(input, readEthernet, () => new EthernetRecord());
  if (drop !== Drop.None) return;
  const copy = Slab.of(14);
  assert(writeEthernet(record, copy, 0) === 14, "The header is 14 bytes");
  for (let at = 0; at < 14; at++) assert(copy.bytes[at] === slab.bytes[at], `Byte ${at} comes back`);
}

function arp(input: Uint8Array): void {
  const { drop, record, slab } = readPlaced(input, readArp, () => new ArpRecord());
  if (drop !== Drop.None) return;
  const copy = Slab.of(28);
  assert(writeArp(record, copy, 0) === 28, "A message is 28 bytes");
  for (let at = 0; at < 28; at++) assert(copy.bytes[at] === slab.bytes[at], `Byte ${at} comes back`);
}

function ipv4(input: Uint8Array): void {
  readPlaced(input, readQuotedIpv4, () => new Ipv4Record());
  const { drop, record, slab } = readPlaced(input, readIpv4, () => new Ipv4Record());
  if (drop !== Drop.None) return;
  hasSourceRoute(slab, record);
  const copy = Slab.of(record.dataEnd + 20);
  const at = writeIpv4(record, copy, 0, record.dataEnd - record.dataStart);
  const again = new Ipv4Record();
  assert(
    readIpv4(copy, 0, at + record.dataEnd - record.dataStart, again) === Drop.None,
    "Our own header is right",
  );
  again.dataStart = record.dataStart; // options are not written
  again.dataEnd = record.dataEnd;
  same(again, 0, record, 0, "written and read");
}

function ipv6(input: Uint8Array): void {
  readPlaced(input, readQuotedIpv6, () => new Ipv6Record(), false);
  const { drop, record } = readPlaced(input, readIpv6, () => new Ipv6Record(), false);
  if (record.problem < 0) return;
  assert(drop !== Drop.None, "What has a problem is refused");
  assert(record.problemAt < input.length, "The problem lies in the packet");
}

function icmp(input: Uint8Array): void {
  const { drop, record, slab } = readPlaced(input, readIcmp, () => new IcmpRecord(), false);
  if (drop !== Drop.None) return;
  const copy = Slab.of(input.length);
  const { type, code, rest, dataStart, dataEnd } = record;
  assert(
    writeIcmp(type, code, rest, slab, dataStart, dataEnd, copy, 0) === input.length,
    "The length comes back",
  );
  const again = new IcmpRecord();
  assert(readIcmp(copy, 0, input.length, again) === Drop.None, "Our own message is right");
  same(again, 0, record, 0, "written and read");
}

/** The first word of the input stands for the sums of the addresses. */
function icmpv6(input: Uint8Array): void {
  readPlaced(
    input,
    (slab, start, end, into) => readIcmpv6(slab, start, end, 0, 0, into),
    () => new Icmpv6Record(),
    false,
  );
}

function ndp(input: Uint8Array): void {
  if (input.length === 0) return;
  input[0] = 133 + input[0]! % 5; // what the caller has judged
  const { drop, record } = readPlaced(input, readNdp, () => new NdpRecord(), false);
  if (drop !== Drop.None) return;
  assert(record.prefixCount <= record.prefixes.length, "No more prefixes than there is room for");
  assert(record.serverCount <= record.servers.length, "No more servers than there is room for");
  for (let at = 0; at < record.prefixCount; at++) {
    assert(record.prefixes[at]!.prefixAt + 16 <= input.length, "The prefix lies in the packet");
  }
  for (let at = 0; at < record.serverCount; at++) {
    assert(record.servers[at]! + 16 <= input.length, "The server's address lies in the packet");
  }
}

function igmp(input: Uint8Array): void {
  const { drop, record } = readPlaced(input, readIgmp, () => new IgmpRecord());
  if (drop !== Drop.None) return;
  if (record.sourceCount > 0) {
    assert(record.sourcesStart + 4 * record.sourceCount <= input.length, "The sources lie in the packet");
  }
  assert(record.responseMs >= 0 && record.intervalMs >= 0, "Times are not negative");
}

function mld(input: Uint8Array): void {
  const { drop, record } = readPlaced(input, readMld, () => new MldRecord());
  if (drop !== Drop.None) return;
  assert(record.groupAt + 16 <= input.length, "The group lies in the packet");
  assert(record.responseMs >= 0 && record.intervalMs >= 0, "Times are not negative");
}

function udp(input: Uint8Array): void {
  const { drop, record } = readPlaced(input, readUdp, () => new UdpRecord());
  if (drop !== Drop.None) return;
  const copy = Slab.of(input.length);
  assert(writeUdp(record, copy, 0, record.dataEnd - record.dataStart) === record.dataStart, "Eight bytes");
  const again = new UdpRecord();
  assert(readUdp(copy, 0, input.length, again) === Drop.None, "Our own header is right");
  same(again, 0, record, 0, "written and read");
}

function tcp(input: Uint8Array): void {
  const { drop, record } = readPlaced(input, readTcp, () => new TcpRecord());
  if (drop !== Drop.None) return;
  record.accEcn.forEach((counter, at) => record.accEcn[at] = Math.max(0, counter)); // counters that did not come
  const length = tcpHeaderLength(record);
  assert(length % 4 === 0 && length <= 20 + TCP_OPTIONS_LENGTH_MAX, `A header of ${length} bytes`);
  const copy = Slab.of(60);
  assert(writeTcp(record, copy, 0) === length, "As long as foretold");
  const again = new TcpRecord();
  assert(readTcp(copy, 0, length, again) === Drop.None, "Our own header is right");
  assert(again.sackCount <= record.sackCount, "As many SACK blocks as fit");
  again.sackCount = record.sackCount;
  again.sackEdges.set(record.sackEdges);
  if (again.fastOpenLength < 0) { // a cookie that does not fit, or is none, is left out
    again.fastOpenLength = record.fastOpenLength;
    again.fastOpenExperimental = record.fastOpenExperimental;
  } else {
    for (let at = 0; at < again.fastOpenLength; at++) {
      assert(again.fastOpenCookie[at] === record.fastOpenCookie[at], "The cookie comes back");
    }
  }
  again.fastOpenCookie.set(record.fastOpenCookie);
  again.accEcn.set(record.accEcn);
  again.dataStart = record.dataStart;
  again.dataEnd = record.dataEnd;
  same(again, 0, record, 0, "written and read");
}

function print(input: Uint8Array): void {
  for (const medium of ["ethernet", "ip"] as const) {
    let first: string | undefined;
    for (const poison of [0, 0xff]) {
      const slab = Slab.of(input.length + 80);
      slab.bytes.fill(poison);
      slab.bytes.set(input, 40);
      const line = formatPacket(slab, 40, 40 + input.length, medium);
      first ??= line;
      assert(line === first, "Nothing from outside the packet shows");
      assert(!/\n|NaN|undefined/.test(line), line);
    }
    assert(
      formatPacket(new Slab(input.slice() as Uint8Array<ArrayBuffer>), 0, input.length, medium) === first,
      "The same at the edge",
    );
  }
}

/** Every option that TCP may carry, alone and in one SYN. */
const tcpSeeds = [
  ...payloads(6),
  hex("1f90 0050 00000001 00000000 a002 ffff 0000 0000 020405b4 0402 080a 00000001 00000000 01 030307"),
  hex("1f90 0050 00000001 00000000 9002 ffff 0000 0000 22 0a 0102030405060708 0101"),
  hex("1f90 0050 00000001 00000000 8002 ffff 0000 0000 fe 08 f989 01020304 0101"),
  hex("1f90 0050 00000001 00000002 b010 ffff 0000 0000 ae0b 000001 000002 000003 01 05 0a 00000001 00000009"),
  hex(
    "1f90 0050 00000001 00000002 d010 ffff 0000 0000 0101 0512 00000001 00000009 00000020 00000030 0101 080a 00000001 00000002",
  ),
];

export const targets: readonly Target[] = [
  {
    name: "wire/ethernet",
    about: `Ethernet headers: ${JUDGE}, written as read`,
    run: ethernet,
    seeds: () => frames,
  },
  {
    name: "wire/arp",
    about: `ARP: ${JUDGE}, written as read`,
    run: arp,
    seeds: () => frames.map((frame) => frame.slice(14)),
  },
  {
    name: "wire/ipv4",
    about: `IPv4 and quoted IPv4: ${JUDGE}, written as read`,
    run: ipv4,
    seeds: () => [...packets, hex("46000018 00010000 4001 0000 0a000001 0a000002 94040000")],
    mend: (input) => {
      mendChecksum(input, 10, 0, Math.min(input.length, 4 * (input[0]! & 15)));
      return input;
    },
  },
  {
    name: "wire/ipv6",
    about: `IPv6 with extension headers, and quoted: ${JUDGE}`,
    run: ipv6,
    seeds: () => [
      ...packets,
      ...[
        "003a 0502 0000 0100",
        "2b00 0000 0000 0000 3a00 0000 0000 0000",
        "3c 00 0104 00000000 3a00 c200 0000 0000",
      ].map((rest) => {
        const headers = hex(rest);
        return Uint8Array.from([
          0x60,
          0,
          0,
          0,
          0,
          headers.length + 8,
          0,
          64,
          ...new Uint8Array(32).fill(0xfe),
          ...headers,
          ...new Uint8Array(8),
        ]);
      }),
      hex(`60000000 0018 2c 40 ${"fe".repeat(32)} 3a00 0001 00000007 ${"00".repeat(16)}`),
    ],
    mend: (input) => {
      if (input.length >= 40) {
        input[4] = (input.length - 40) >> 8;
        input[5] = input.length - 40;
      }
      return input;
    },
  },
  {
    name: "wire/icmp",
    about: `ICMP: ${JUDGE}, written as read`,
    run: icmp,
    seeds: () => [...payloads(1), Uint8Array.from([3, 4, 0, 0, 0, 0, 5, 0, ...packets[0]!])],
    mend: (input) => {
      mendChecksum(input, 2, 0, input.length);
      return input;
    },
  },
  {
    name: "wire/icmpv6",
    about: `ICMPv6: ${JUDGE}`,
    run: icmpv6,
    seeds: () => [
      ...payloads(58),
      hex(`0200 0000 00000500 60000000 0008 06 40 ${"fe".repeat(32)} 1f900050 00000001`),
    ],
    mend: (input) => {
      mendChecksum(input, 2, 0, input.length, 58 + input.length);
      return input;
    },
  },
  {
    name: "wire/ndp",
    about: `neighbour discovery: ${JUDGE}; counts and offsets in bounds`,
    run: ndp,
    seeds: () => [
      ...payloads(58),
      hex(
        `8600 0000 40 00 0708 00000000 00000000 0101 020000000001 0501 0000 000005dc 0304 40c0 ffffffff ffffffff 00000000 20010db8${
          "00".repeat(12)
        } 1903 0000 00000708 20010db8${"00".repeat(12)}`,
      ),
      hex(`8700 0000 00000000 ${"fe".repeat(16)} 0101 020000000001`),
    ],
  },
  {
    name: "wire/igmp",
    about: `IGMP 1 to 3: ${JUDGE}`,
    run: igmp,
    seeds: () => [
      ...payloads(2),
      hex("1164 0000 e0000001"),
      hex("1164 0000 e0000105 0a7d 0002 0a000001 0a000002"),
      hex("1600 0000 e0000105"),
    ],
    mend: (input) => {
      mendChecksum(input, 2, 0, input.length);
      return input;
    },
  },
  {
    name: "wire/mld",
    about: `MLD 1 and 2: ${JUDGE}`,
    run: mld,
    seeds: () => [
      hex(`8200 0000 2710 0000 ${"00".repeat(16)}`),
      hex(`8200 0000 8710 0000 ff02${"00".repeat(13)}05 0a7d 0001 20010db8${"00".repeat(12)}`),
      hex(`8300 0000 0000 0000 ff02${"00".repeat(13)}05`),
    ],
  },
  {
    name: "wire/udp",
    about: `UDP headers: ${JUDGE}, written as read`,
    run: udp,
    seeds: () => [...payloads(17), hex("c001 0035 000a 0000 0707")],
    mend: (input) => {
      if (input.length >= 8) {
        input[4] = input.length >> 8;
        input[5] = input.length;
      }
      return input;
    },
  },
  {
    name: "wire/tcp",
    about: `TCP headers and every option (SACK, AccECN, Fast Open ...): ${JUDGE}, written as read`,
    run: tcp,
    seeds: () => tcpSeeds,
  },
  {
    name: "wire/print",
    about: "packets on one line: nothing from outside the packet, no NaN",
    run: print,
    seeds: () => [...frames, ...packets],
    mend: (input) => {
      const at = input[12] === 8 && input[13] === 0 ? 14 : 0;
      mendChecksum(input, at + 10, at, Math.min(input.length, at + 4 * (input[at]! & 15)));
      return input;
    },
    allocationMax: () => 1 << 20,
  },
];
