import { Prng } from "../../../base/random.ts";
import { Slab } from "../../../base/slab.ts";
import type { RouteConfig } from "../../../net/ip/route_config.ts";
import type { Medium } from "../../../net/link/link.ts";
import { Stack } from "../../../net/stack.ts";
import type { Drop } from "../../../net/wire/drop.ts";

/** A router between two networks, the near one 1,500 bytes wide; the test is everybody else. */
export class RouterWorld {
  readonly stack: Stack;
  readonly sent: Uint8Array<ArrayBuffer>[][] = [[], []];
  nowMs = 1_000_000;

  /** @param medium Of the far side. */
  constructor(config: RouteConfig, farMtu: number, { forwarding = true, medium = "ip" as Medium } = {}) {
    this.stack = new Stack({ nowMs: this.nowMs, entropy: new Prng(1), forwarding });
    [1_500, farMtu].forEach((mtu, index) => {
      const send = (slab: Slab, start: number, end: number): boolean => {
        this.sent[index]!.push(slab.bytes.slice(start, end));
        return true;
      };
      const link = { medium: index === 1 ? medium : "ip" as Medium, mtu, send, flush: () => {} };
      this.stack.addInterface({ name: `net${index}`, link, mac: { hi: 0x0200, lo: 1 } });
    });
    this.stack.setRoutes(config);
  }

  receive(packet: Uint8Array<ArrayBuffer>, interfaceIndex = 0): Drop {
    return this.stack.receive(interfaceIndex, new Slab(packet), 0, packet.length, this.nowMs);
  }

  /** What has left since the last time, by interface. */
  take(): Uint8Array<ArrayBuffer>[][] {
    return this.sent.map((packets) => packets.splice(0));
  }

  /** The one packet that has gone to the near side, and none to the other. */
  takeNear(): Uint8Array<ArrayBuffer> {
    const [near, far] = this.take();
    if (near!.length !== 1 || far!.length !== 0) {
      throw new Error(`Found ${near!.length} and ${far!.length} packets, expected one to the near side`);
    }
    return near![0]!;
  }
}
