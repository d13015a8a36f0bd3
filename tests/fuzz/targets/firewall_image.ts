import { Prng } from "../../../base/random.ts";
import { assert } from "../../../base/assert.ts";
import {
  readFirewallImage,
  restoreFlows,
  writeFirewallImage,
} from "../../../checkpoint/firewall/firewall_image.ts";
import { explainFirewall } from "../../../checkpoint/firewall/explain.ts";
import { ImageError } from "../../../checkpoint/image/image_error.ts";
import { writeImage } from "../../../checkpoint/image/write.ts";
import { listFlows } from "../../../net/firewall/conntrack/mod.ts";
import { samples } from "../../checkpoint/image/samples.ts";
import { HOSTS4, NETWORKS, RULES } from "../../net/firewall/conntrack/nat_rules.ts";
import { TestRouter } from "../../net/firewall/conntrack/test_router.ts";
import { TrafficWorld } from "../../net/firewall/conntrack/traffic_world.ts";
import { orRefuses } from "../refuses.ts";
import type { Target } from "../target.ts";
import { mendImage } from "./image.ts";

const START_MS = 1_700_000_000_000;

/** What an image says is refused, or is harmless: the flows are there, packets go by, and it is written again. */
function image(input: Uint8Array<ArrayBuffer>): void {
  const { value: content } = orRefuses(ImageError, () => readFirewallImage(input));
  if (content === undefined) return;
  const router = new TestRouter(1, content.frozenAtMs, NETWORKS, RULES[1]!.ask);
  const restored = restoreFlows(content, router.conntrack, content.frozenAtMs);
  assert(restored <= content.flows.length && router.conntrack.size === restored, "As many as there are");
  const before = [...listFlows(router.conntrack, content.frozenAtMs)];
  const again = readFirewallImage(writeFirewallImage(content.rules, router.conntrack, content.frozenAtMs));
  assert(again.flows.length === restored, "All of them are written");
  const other = new TestRouter(2, content.frozenAtMs, NETWORKS, RULES[1]!.ask);
  restoreFlows(again, other.conntrack, content.frozenAtMs);
  assert(
    before.join() === [...listFlows(other.conntrack, content.frozenAtMs)].join(),
    "And come back as they were",
  );
  const world = new TrafficWorld(new Prng(input.length), router, HOSTS4, [
    HOSTS4.slice(3),
    HOSTS4.slice(0, 3),
  ]);
  for (let step = 0; step < 20; step++) world.heard(router.input(world.say()));
  explainFirewall(input);
}

function seeds(): Uint8Array<ArrayBuffer>[] {
  const router = new TestRouter(1, START_MS, NETWORKS, RULES[1]!.ask);
  const world = new TrafficWorld(new Prng(1), router, HOSTS4, [HOSTS4.slice(3), HOSTS4.slice(0, 3)]);
  const images: Uint8Array<ArrayBuffer>[] = [writeImage(samples().firewall!)];
  for (let step = 0; step < 12; step++) {
    world.heard(router.input(world.say()));
    images.push(writeFirewallImage({ tables: [] }, router.conntrack, START_MS));
  }
  return images.filter(({ length }) => length <= 800);
}

export const targets: readonly Target[] = [
  {
    name: "firewall/image",
    about:
      "images of firewalls, hashes mended: refused, or harmless when packets go by, and written as they were",
    run: image,
    bytesMax: 800,
    seeds,
    mend: mendImage,
    allocationMax: (length) => (1 << 23) + 2048 * length,
  },
];
