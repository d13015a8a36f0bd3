import { Prng } from "../../../base/random.ts";
import { Slab } from "../../../base/slab.ts";
import { listFlows } from "../../../net/firewall/conntrack/print.ts";
import { Hook } from "../../../net/firewall/conntrack/state.ts";
import { NftCompiled } from "../../../net/firewall/nft/compiled.ts";
import type { Fib } from "../../../net/firewall/nft/fib.ts";
import { linkRules } from "../../../net/firewall/nft/link.ts";
import type { LinkedRules } from "../../../net/firewall/nft/linked.ts";
import { listRules } from "../../../net/firewall/nft/list.ts";
import { Nfproto, NftPacket } from "../../../net/firewall/nft/packet.ts";
import { forwardPriority } from "../../../net/firewall/nft/priority.ts";
import type { Ruleset } from "../../../net/firewall/nft/schema.ts";
import { Stack } from "../../../net/stack.ts";
import { checksumOf } from "../../../net/wire/checksum.ts";
import { INTERFACES } from "../random_values.ts";
import { OWN, ROUTED } from "./kernel_firewall.ts";
import { NftVerdict } from "../../../net/firewall/nft/environment.ts";

const TUN0 = INTERFACES.indexOf("tun0");
const ETH1 = INTERFACES.indexOf("eth1");

/** Where a packet goes: to the namespace, on to `eth1`, or nowhere. */
type Way = "local" | "forward" | "nowhere";

/** The same firewall as the kernel's, and its routes, as far as packets meet rules on them. */
export class OurFirewall {
  readonly #linked: LinkedRules;
  readonly #compiled: NftCompiled;
  readonly #packet = new NftPacket();

  constructor(ruleset: Ruleset) {
    this.#linked = linkRules(ruleset, INTERFACES);
    this.#compiled = new NftCompiled(this.#linked, { fib: FIB }, 0);
  }

  /** A packet comes in by `tun0`, and goes as far as the rules let it. */
  inject(bytes: Uint8Array<ArrayBuffer>): void {
    const packet = this.#packet;
    const slab = new Slab(bytes.slice());
    packet.moveTo(slab, 0, bytes.length, 0);
    packet.iif = TUN0;
    if (!this.#passes(Hook.prerouting)) return;
    const way = wayOf(packet, true);
    if (way === "local") {
      // The kernel puts fragments together before the rules of input see them; these never become whole.
      if (packet.nfproto === Nfproto.Ipv6 || (slab.view.getUint16(6) & 0x3fff) === 0) {
        this.#passes(Hook.input);
      }
      return;
    }
    if (way === "nowhere") return;
    const six = packet.nfproto === Nfproto.Ipv6;
    const ttlAt = six ? 7 : 8;
    if (slab.bytes[ttlAt]! <= 1) return;
    slab.bytes[ttlAt]!--;
    if (!six) {
      const header = (slab.bytes[0]! & 15) * 4;
      slab.view.setUint16(10, 0);
      slab.view.setUint16(10, checksumOf(slab, 0, header));
    }
    packet.oif = ETH1;
    if (!six) packet.priority = forwardPriority(slab.bytes[1]!);
    if (this.#passes(Hook.forward)) this.#passes(Hook.postrouting);
  }

  /** We send a packet ourselves, to somebody behind `eth1`. */
  send(bytes: Uint8Array<ArrayBuffer>): void {
    this.#packet.moveTo(new Slab(bytes.slice()), 0, bytes.length, 0);
    this.#packet.oif = ETH1;
    if (this.#passes(Hook.output)) this.#passes(Hook.postrouting);
  }

  #passes(hook: Hook): boolean {
    const verdict = this.#compiled.judge(this.#packet, hook);
    return verdict === NftVerdict.Accept;
  }

  list(): Ruleset {
    return listRules(this.#linked, this.#compiled.save(0), 0);
  }
}

/** A whole stack in the namespace's place, which follows connections where rules ask for it. */
export class OurStack {
  /** What has left by `eth1`. */
  readonly left: Uint8Array[] = [];
  readonly #stack: Stack = new Stack({ nowMs: 1_000_000, entropy: new Prng(1), forwarding: true });

  constructor(ruleset: Ruleset) {
    for (const name of INTERFACES.slice(0, 2)) {
      this.#stack.addInterface({
        name,
        link: {
          medium: "ip",
          mtu: 1_500,
          send: ({ bytes }, start, end) => {
            if (name === "eth1") this.left.push(bytes.slice(start, end));
            return true;
          },
          flush: () => {},
        },
      });
    }
    this.#stack.setRoutes({
      addresses: OWN.map((address) => ({
        address: `${address}/${address.includes(":") ? 128 : 32}`,
        interface: TUN0,
      })),
      routes: ROUTED.map((destination) => ({ destination, interface: ETH1 })),
    });
    this.#stack.setRules(ruleset);
  }

  inject(bytes: Uint8Array<ArrayBuffer>): void {
    this.#stack.receive(TUN0, new Slab(bytes.slice()), 0, bytes.length, 1_000_000);
    this.#stack.poll(1_000_000);
  }

  /** We send a packet ourselves, to somebody behind `eth1`. */
  send(bytes: Uint8Array<ArrayBuffer>): void {
    const { hooks } = this.#stack;
    const slab = new Slab(bytes.slice());
    if (!hooks.output(slab, 0, bytes.length, ETH1, false, 1_000_000)) return;
    if (hooks.postrouting(ETH1)) this.left.push(slab.bytes);
  }

  /** Whether a source port, or the number of an echo, was drawn because the packet's own was taken. */
  get drew(): boolean {
    const { conntrack } = this.#stack.hooks;
    if (conntrack === undefined) return false;
    return [...listFlows(conntrack, 1_000_000)].some((line) => {
      const [own, answered] = [
        ...line.matchAll(/ (?:sport|id)=(\d+)/g),
        ...line.matchAll(/ (?:dport|id)=(\d+)/g),
      ]
        .filter((_, at, all) => at === 0 || at === all.length - 1).map(([, port]) => port);
      return own !== answered;
    });
  }

  list(): Ruleset {
    return this.#stack.hooks.rules!.list(1_000_000);
  }
}

function wayOf({ slab, nfproto }: NftPacket, destination: boolean): Way {
  const { view } = slab;
  if (nfproto === Nfproto.Ipv4) {
    const address = view.getUint32(destination ? 16 : 12);
    if (address === 0x0a010001) return "local";
    return address >>> 16 === 0x0a02 ? "forward" : "nowhere";
  }
  const at = destination ? 24 : 8;
  const low = view.getBigUint64(at + 8);
  if (view.getBigUint64(at) === 0xfd01_0000_0000_0000n && low === 1n) return "local";
  return view.getUint16(at) === 0xfd02 ? "forward" : "nowhere";
}

const FIB: Fib = {
  // Of IPv4 the kernel asks its table of local addresses alone: whatever is not there is unicast.
  type(packet, destination, within) {
    const way = wayOf(packet, destination);
    const elsewhere = within >= 0 && within !== (way === "local" ? TUN0 : ETH1);
    if (way === "local" && !elsewhere) return 2;
    return way === "nowhere" && packet.nfproto === Nfproto.Ipv6 ? 7 : 1;
  },
  mss: ({ nfproto }) => nfproto === Nfproto.Ipv6 ? 1_440 : 1_460,
  oif: (packet, destination, within) => {
    const found = { local: -1, forward: ETH1, nowhere: -1 }[wayOf(packet, destination)]; // to itself there is no way out
    return within < 0 || within === found ? found : -1;
  },
};
