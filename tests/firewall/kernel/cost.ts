import process from "node:process";
import { Prng } from "../../../base/random.ts";
import { Slab } from "../../../base/slab.ts";
import { readTextRules } from "../../../net/firewall/nft/text/read.ts";
import { formatIpv4, parseIpv4 } from "../../../net/wire/address.ts";
import { checksumOf } from "../../../net/wire/checksum.ts";
import type { KernelFirewall } from "./kernel_firewall.ts";
import { OurStack } from "./our_firewall.ts";

const SIZES = [0, 10, 100, 1_000, 10_000];
const PACKETS = 4_096;
const ROUNDS = 6;

/** A block list of `size` hosts, one rule each, at input. */
function blockList(size: number): string {
  const prng = new Prng(size);
  const rules = Array.from(
    { length: size },
    () => `ip saddr ${formatIpv4(0x6000_0000 + prng.below(0x6000_0000))} drop`,
  );
  const chain = `chain c {\ntype filter hook input priority 0; policy accept;\n${rules.join("\n")}\n}`;
  return `table ip t {\n${chain}\n}\n`;
}

/** Datagrams to the namespace from hosts that no rule names, with wrong checksums: they end behind the rules. */
function datagrams(): Uint8Array<ArrayBuffer>[] {
  const prng = new Prng(7);
  return Array.from({ length: PACKETS }, () => {
    const slab = Slab.of(64);
    const { bytes, view } = slab;
    bytes.set([0x45, 0, 0, bytes.length, 0, 0, 0, 0, 64, 17]);
    view.setInt32(12, 0x0b00_0000 + prng.below(0x4000_0000));
    view.setInt32(16, parseIpv4("10.1.0.1")!);
    view.setUint16(10, checksumOf(slab, 0, 20));
    view.setUint16(20, 1_024 + prng.below(60_000));
    view.setUint16(22, 9);
    view.setUint16(24, bytes.length - 20);
    view.setUint16(26, 1);
    return bytes;
  });
}

/** Prints what a datagram costs the kernel and us behind block lists of several lengths: time of the processor. */
export async function compareCost(kernel: KernelFirewall): Promise<void> {
  const packets = datagrams();
  for (const size of SIZES) {
    const text = blockList(size);
    const said = kernel.loadText(text);
    if (said !== undefined) throw new Error(said);
    await kernel.inject(packets.slice(0, 100));
    const before = kernel.systemMs();
    for (let round = 0; round < ROUNDS; round++) await kernel.inject(packets);
    const theirs = (kernel.systemMs() - before) * 1e6 / (ROUNDS * PACKETS);
    const ours = new OurStack(readTextRules(text));
    for (const packet of packets) ours.inject(packet);
    const start = process.cpuUsage();
    for (let round = 0; round < ROUNDS; round++) for (const packet of packets) ours.inject(packet);
    const { user, system } = process.cpuUsage(start);
    const mine = (user + system) * 1e3 / (ROUNDS * PACKETS);
    console.log(
      `${size} rules: kernel ${theirs.toFixed(0)} ns (with the system calls that bring it), ours ${
        mine.toFixed(0)
      } ns`,
    );
  }
}
