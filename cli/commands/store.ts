import type { Command } from "../command.ts";
import { group } from "../dispatch.ts";
import { storeCheck } from "./store/check.ts";
import { storeCompact } from "./store/compact.ts";
import { storeExplain } from "./store/explain.ts";
import { storeLs } from "./store/ls.ts";
import { storeRepair } from "./store/repair.ts";

/** `torpor store`. */
export const store: Command = group(
  "store",
  "checks, repairs, lists a folder of sleeping connections",
  "Looks after the folder in which connections sleep.",
  [storeCheck, storeRepair, storeCompact, storeLs, storeExplain],
);
