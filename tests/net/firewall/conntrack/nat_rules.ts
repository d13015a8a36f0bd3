import { Hook } from "../../../../net/firewall/conntrack/mod.ts";
import { NatFlag, NatKind, type NatRequest } from "../../../../net/firewall/nat/mod.ts";
import { Nfproto, type NftPacket } from "../../../../net/firewall/nft/packet.ts";
import type { Ask, TestRouter } from "./test_router.ts";

/** Own addresses by side and family. */
export const NETWORKS = [["10.1.0.1", "fd01::1"], ["10.2.0.1", "fd02::1"]];
/** Who speaks, IPv4 and IPv6. */
export const HOSTS4 = [0, 1].flatMap((side) =>
  [2, 3, 9].map((host) => ({ side, address: `10.${side + 1}.0.${host}` }))
);
export const HOSTS6 = [0, 1].flatMap((side) =>
  [2, 3, 9].map((host) => ({ side, address: `fd0${side + 1}::${host}` }))
);

/** Rules of NAT, in nftables' words and in ours. */
export interface Rules {
  readonly name: string;
  /** NAT chains of a table inet. */
  readonly text: string;
  readonly ask?: Ask;
}

function give(
  into: NatRequest,
  packet: NftPacket,
  router: TestRouter,
  kind: NatKind,
  low: string,
  high = low,
): void {
  into.kind = kind;
  into.hasAddress = low !== "";
  into.hasPort = false;
  into.flags = 0;
  if (low === "") return;
  for (const [at, text] of [low, high].entries()) {
    const address = router.addresses.parse(text)!;
    into.address.set(packet.nfproto === Nfproto.Ipv6 ? router.addresses.words(address) : [address], 4 * at);
  }
}

function ports(into: NatRequest, low: number, high = low): void {
  into.hasPort = true;
  into.portLow = low;
  into.portHigh = high;
}

function destinationPort(packet: NftPacket): number {
  return packet.protocol === 6 || packet.protocol === 17
    ? packet.slab.view.getUint16(packet.transport + 2)
    : -1;
}

export const RULES: readonly Rules[] = [
  { name: "no rules of NAT", text: "" },
  {
    name: "a masquerading router",
    text: `chain post { type nat hook postrouting priority srcnat; oifname "tb" masquerade; }`,
    ask(packet, into, router) {
      if (packet.hook === Hook.postrouting && packet.oif === 1) {
        give(into, packet, router, NatKind.masquerade, "");
      }
    },
  },
  {
    name: "source NAT to a range, destination NAT by port",
    text: `chain pre { type nat hook prerouting priority dstnat;
      meta nfproto ipv4 tcp dport 80 dnat ip to 10.2.0.9:8080
      meta nfproto ipv4 udp dport 53 iifname "tb" dnat ip to 10.1.0.9
      meta nfproto ipv6 tcp dport 80 dnat ip6 to [fd02::9]:8080
      meta nfproto ipv6 udp dport 53 iifname "tb" dnat ip6 to fd01::9
    }
    chain post { type nat hook postrouting priority srcnat;
      oifname "tb" meta nfproto ipv4 snat ip to 10.2.0.50-10.2.0.57
      oifname "tb" meta nfproto ipv6 snat ip6 to fd02::50-fd02::57
    }`,
    ask(packet, into, router) {
      const ipv6 = packet.nfproto === Nfproto.Ipv6;
      const port = destinationPort(packet);
      if (packet.hook === Hook.prerouting) {
        if (packet.protocol === 6 && port === 80) {
          give(into, packet, router, NatKind.dnat, ipv6 ? "fd02::9" : "10.2.0.9");
          ports(into, 8080);
        } else if (packet.protocol === 17 && port === 53 && packet.iif === 1) {
          give(into, packet, router, NatKind.dnat, ipv6 ? "fd01::9" : "10.1.0.9");
        }
      } else if (packet.oif === 1) {
        if (ipv6) give(into, packet, router, NatKind.snat, "fd02::50", "fd02::57");
        else give(into, packet, router, NatKind.snat, "10.2.0.50", "10.2.0.57");
      }
    },
  },
  {
    name: "persistent source NAT, destinations spread over a range, hairpins, redirects",
    text: `chain pre { type nat hook prerouting priority dstnat;
      meta nfproto ipv4 tcp dport 80 dnat ip to 10.1.0.2-10.1.0.5
      meta nfproto ipv6 tcp dport 80 dnat ip6 to fd01::2-fd01::5
      udp dport 8080 redirect to :99
    }
    chain post { type nat hook postrouting priority srcnat;
      iifname "ta" oifname "ta" masquerade
      oifname "tb" meta nfproto ipv4 snat ip to 10.2.0.50-10.2.0.57 persistent
      oifname "tb" meta nfproto ipv6 snat ip6 to fd02::50-fd02::57 persistent
    }`,
    ask(packet, into, router) {
      const ipv6 = packet.nfproto === Nfproto.Ipv6;
      const port = destinationPort(packet);
      if (packet.hook === Hook.prerouting) {
        if (packet.protocol === 6 && port === 80) {
          if (ipv6) give(into, packet, router, NatKind.dnat, "fd01::2", "fd01::5");
          else give(into, packet, router, NatKind.dnat, "10.1.0.2", "10.1.0.5");
        } else if (packet.protocol === 17 && port === 8080) {
          give(into, packet, router, NatKind.redirect, "");
          ports(into, 99);
        }
      } else if (packet.iif === 0 && packet.oif === 0) give(into, packet, router, NatKind.masquerade, "");
      else if (packet.oif === 1) {
        if (ipv6) give(into, packet, router, NatKind.snat, "fd02::50", "fd02::57");
        else give(into, packet, router, NatKind.snat, "10.2.0.50", "10.2.0.57");
        into.flags = NatFlag.persistent;
      }
    },
  },
];
