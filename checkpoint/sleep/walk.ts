import type { Host } from "../../net/socket/host.ts";
import type { Stack } from "../../net/stack.ts";
import type { SleepTimers } from "../../net/wake/sleep_timers.ts";
import type { Journal } from "../journal.ts";
import type { Store } from "../store/store.ts";
import type { Images } from "./images.ts";
import type { Teller } from "./teller.ts";

/** What the parts of the sleep walk share. */
export interface Walk {
  readonly host: Host;
  readonly stack: Stack;
  readonly store: Store;
  readonly images: Images;
  readonly journal: Journal;
  /** Deadlines of sleepers. */
  readonly timers: SleepTimers;
  readonly teller: Teller;
  /** Nothing wakes, nothing is accepted: at the end, or while all are held asleep. */
  closing: boolean;
}
