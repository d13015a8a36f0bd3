import type { Target } from "./target.ts";
import { targets as appliances } from "./targets/appliances.ts";
import { targets as applianceFiles } from "./targets/appliance_files.ts";
import { targets as cli } from "./targets/cli.ts";
import { targets as dhcp } from "./targets/dhcp.ts";
import { targets as dns } from "./targets/dns.ts";
import { targets as exchange } from "./targets/exchange.ts";
import { targets as firewallImage } from "./targets/firewall_image.ts";
import { targets as image } from "./targets/image.ts";
import { targets as link } from "./targets/link.ts";
import { targets as names } from "./targets/names.ts";
import { targets as nft } from "./targets/nft.ts";
import { targets as patch } from "./targets/patch.ts";
import { targets as pings } from "./targets/pings.ts";
import { targets as replay } from "./targets/replay.ts";
import { targets as frames } from "./targets/frames.ts";
import { targets as serve } from "./targets/serve.ts";
import { targets as source } from "./targets/source.ts";
import { targets as socket } from "./targets/socket.ts";
import { targets as stack } from "./targets/stack.ts";
import { targets as store } from "./targets/store.ts";
import { targets as text } from "./targets/text.ts";
import { targets as trains } from "./targets/trains.ts";
import { targets as wasm } from "./targets/wasm.ts";
import { targets as watch } from "./targets/watch.ts";
import { targets as wire } from "./targets/wire.ts";

/** A target and the file that build.ts bundles for it. */
export interface NamedTarget {
  readonly file: string;
  readonly target: Target;
}

const files: Readonly<Record<string, readonly Target[]>> = {
  "targets/appliances.ts": appliances,
  "targets/appliance_files.ts": applianceFiles,
  "targets/wire.ts": wire,
  "targets/dhcp.ts": dhcp,
  "targets/dns.ts": dns,
  "targets/link.ts": link,
  "targets/trains.ts": trains,
  "targets/names.ts": names,
  "targets/nft.ts": nft,
  "targets/patch.ts": patch,
  "targets/source.ts": source,
  "targets/wasm.ts": wasm,
  "targets/pings.ts": pings,
  "targets/text.ts": text,
  "targets/cli.ts": cli,
  "targets/firewall_image.ts": firewallImage,
  "targets/image.ts": image,
  "targets/exchange.ts": exchange,
  "targets/store.ts": store,
  "targets/serve.ts": serve,
  "targets/socket.ts": socket,
  "targets/replay.ts": replay,
  "targets/watch.ts": watch,
  "targets/frames.ts": frames,
  "targets/stack.ts": stack,
};

/** Everything that is fuzzed. */
export const everyTarget: readonly NamedTarget[] = Object.entries(files).flatMap(([file, targets]) =>
  targets.map((target) => ({ file, target }))
);
