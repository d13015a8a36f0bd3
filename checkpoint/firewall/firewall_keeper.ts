import { CHUNK_FLOWS } from "../../net/firewall/conntrack/flow_table.ts";
import { freezeFlows } from "../../net/firewall/conntrack/freeze.ts";
import type { NftRules } from "../../net/firewall/nft/rules.ts";
import type { Ruleset } from "../../net/firewall/nft/schema.ts";
import type { Stack } from "../../net/stack.ts";
import { readFrame } from "../image/frame.ts";
import { ImageError } from "../image/image_error.ts";
import { Kind } from "../image/kinds.ts";
import type { Location, Store } from "../store/store.ts";
import { carriedOver } from "./carry_over.ts";
import {
  agedRules,
  type FirewallContent,
  readFirewallImage,
  writeFlowsPart,
  writeRulesPart,
} from "./firewall_image.ts";

/** Milliseconds between two writings of one part: what a kill may cost the flows that began meanwhile. */
const AGAIN_MS = 1_000;
/** Bytes that may be written in a second, all parts together: a disk's smallest worry, and a twentieth of a core. */
const BYTES_PER_SECOND = 4 * 1024 * 1024;
/** Of the rules, whose counters every packet changes, this is all. */
const RULES_BYTES_PER_SECOND = 256 * 1024;
/** After the store has refused. */
const RETRY_MS = 5_000;

/**
 * Keeps a stack's firewall in its store, beside the connections: the rules in one record with their sets and counts, flows
 * in records of a thousand each. What changes is written again, no sooner than after {@linkcode AGAIN_MS} and at a bounded
 * rate; so after `kill -9` the flows and translations of sleepers are there, and at most the last moment's are not.
 */
export class FirewallKeeper {
  readonly #stack: Stack;
  readonly #store: Store;
  readonly #report: (error: unknown) => void;
  /** Where each part lies, and when it may be written again. */
  readonly #parts: Map<number, { location: Location; nextMs: number }> = new Map();
  /** What the store held when it was opened. */
  #found: FirewallContent[] = [];
  #damaged: ImageError | undefined;
  /** Parts of which it is not known that they are as in the store. */
  readonly #stale: Set<number> = new Set();
  #nextMs = -Infinity;
  /** The rules that the record of rules is of. */
  #rules: NftRules | undefined;

  constructor(stack: Stack, store: Store, report: (error: unknown) => void) {
    this.#stack = stack;
    this.#store = store;
    this.#report = report;
  }

  /** The store has `image` at `location`. @returns Whether it is a firewall's, which is known from now on. */
  found(image: Uint8Array, location: Location): boolean {
    if (!isFirewall(image)) return false;
    let content: FirewallContent;
    try {
      content = readFirewallImage(image);
    } catch (error) {
      if (!(error instanceof ImageError)) throw error;
      this.#damaged ??= error;
      return false;
    }
    const { part = 0 } = content;
    const known = this.#parts.get(part);
    if (known !== undefined) return false; // no two records say the same: each supersedes the one before
    this.#found.push(content);
    this.#parts.set(part, { location, nextMs: -Infinity });
    this.#stale.add(part); // flows get other numbers here
    return true;
  }

  /** As `Store.onMoved`. @returns Whether the record was a firewall's. */
  relocated(from: Location, to: Location, image: Uint8Array): boolean {
    if (!isFirewall(image)) return false;
    for (const part of this.#parts.values()) if (part.location === from) part.location = to;
    return true;
  }

  /**
   * Lets the stack go on with what was found: its flows, its rules and sets if it has none, and of rules that are the same
   * what they have counted and learnt.
   *
   * @param given The rules that the stack has been given; undefined for none.
   * @param flows Whether flows are wanted: not when they came from elsewhere.
   * @throws {ImageError} When the record of rules is damaged, and there are no others: nothing would be refused.
   */
  goOn(given: Ruleset | undefined, flows: boolean): void {
    const found = this.#found.sort((a, b) => b.frozenAtMs - a.frozenAtMs); // of two of a flow the later
    this.#found = [];
    const stack = this.#stack;
    const { nowMs } = stack;
    const kept = found.find(({ rules }) => rules.tables.length > 0);
    if (kept === undefined && given === undefined && this.#damaged !== undefined) throw this.#damaged;
    if (kept !== undefined && (given === undefined || given.tables.length > 0)) {
      const aged = agedRules(kept.rules, nowMs - kept.frozenAtMs);
      stack.setRules(given === undefined ? aged : carriedOver(given, aged));
    }
    if (!flows) return;
    for (const { flows, frozenAtMs } of found) {
      if (flows.length > 0) stack.restoreFlows(flows, nowMs - frozenAtMs);
    }
  }

  /** Writes what is due. Called at every turn. */
  turn(nowMs: number): void {
    if (nowMs < this.#nextMs || !this.#touched) return;
    this.#nextMs = Infinity;
    const parts = this.#partsEnd;
    for (let part = 0; part < parts; part++) {
      if (!this.#isTouched(part)) continue;
      const dueMs = this.#parts.get(part)?.nextMs ?? -Infinity;
      if (dueMs > nowMs) this.#nextMs = Math.min(this.#nextMs, dueMs);
      else {
        this.#nextMs = nowMs + this.#write(part, nowMs);
        return; // one a turn
      }
    }
  }

  /** When there is something to be written, if nothing happens until then. */
  nextDeadlineMs(): number {
    return this.#touched ? this.#nextMs : Infinity;
  }

  /** Writes all that has changed, whatever is due: before the process ends, or all is copied. */
  save(nowMs: number): void {
    const parts = this.#partsEnd;
    for (let part = 0; part < parts; part++) if (this.#isTouched(part)) this.#write(part, nowMs);
  }

  /** Parts have numbers below this: those that there are, and those of a process that had more flows. */
  get #partsEnd(): number {
    return Math.max(
      1 + (this.#stack.hooks.conntrack?.table.touched.length ?? 0),
      1 + Math.max(0, ...this.#stale),
    );
  }

  get #touched(): boolean {
    const { rules, conntrack } = this.#stack.hooks;
    return rules !== this.#rules || (rules !== undefined && rules.touched) || this.#stale.size > 0 ||
      (conntrack !== undefined && conntrack.table.anyTouched);
  }

  #isTouched(part: number): boolean {
    if (this.#stale.has(part)) return true;
    const { rules, conntrack } = this.#stack.hooks;
    if (part === 0) return rules !== this.#rules || (rules !== undefined && rules.touched);
    return conntrack !== undefined && conntrack.table.touched[part - 1] === 1;
  }

  /** @returns Milliseconds for which nothing more should be written. */
  #write(part: number, nowMs: number): number {
    const known = this.#parts.get(part);
    try {
      const image = this.#imageOf(part, nowMs);
      if (image === undefined) {
        if (known !== undefined) this.#store.remove([known.location]);
        this.#parts.delete(part);
        this.#stale.delete(part);
        return 0;
      }
      const supersedes = known === undefined ? {} : { supersedes: [known.location] };
      const [location] = this.#store.append([image], supersedes).locations;
      const rate = part === 0 ? RULES_BYTES_PER_SECOND : BYTES_PER_SECOND;
      const nextMs = nowMs + Math.max(AGAIN_MS, image.length * 1_000 / rate);
      this.#parts.set(part, { location: location!, nextMs });
      this.#stale.delete(part);
      return image.length * 1_000 / BYTES_PER_SECOND;
    } catch (error) {
      this.#report(error);
      if (known !== undefined) known.nextMs = nowMs + RETRY_MS;
      return RETRY_MS;
    }
  }

  /** The image of a part as it is now, which is untouched then; undefined when there is nothing in it. */
  #imageOf(part: number, nowMs: number): Uint8Array | undefined {
    const { rules, conntrack } = this.#stack.hooks;
    if (part === 0) {
      this.#rules = rules;
      if (rules === undefined) return undefined;
      rules.touched = false;
      return writeRulesPart(rules.list(nowMs), nowMs);
    }
    if (conntrack === undefined || part > conntrack.table.touched.length) return undefined;
    conntrack.table.untouch(part - 1);
    const from = (part - 1) * CHUNK_FLOWS;
    return writeFlowsPart(part, [...freezeFlows(conntrack, nowMs, from, from + CHUNK_FLOWS)], nowMs);
  }
}

/** Whether an image is one of a firewall, sound or not. */
export function isFirewall(image: Uint8Array): boolean {
  try {
    return readFrame(image).kind === Kind.Firewall;
  } catch {
    return false;
  }
}
