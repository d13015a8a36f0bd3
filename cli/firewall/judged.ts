import { Prng } from "../../base/random.ts";
import { Slab } from "../../base/slab.ts";
import { Conntrack, CtState, Hook, HookPriority } from "../../net/firewall/conntrack/mod.ts";
import { type NftEnvironment, NftVerdict } from "../../net/firewall/nft/environment.ts";
import { addressOf, type FirewallEvent, logEvent, traceEvent } from "../../net/firewall/nft/events.ts";
import type { LinkedRules } from "../../net/firewall/nft/linked.ts";
import { Nfproto, NftPacket } from "../../net/firewall/nft/packet.ts";
import type { Log } from "../../net/firewall/nft/schema.ts";
import { type NftExplanation, NftWalk } from "../../net/firewall/nft/walk.ts";
import { AddressTable } from "../../net/ip/address_table.ts";

/** Which way a packet takes: to us, from us, or past us. */
export type Way = "input" | "output" | "forward";

/** The hooks on each way, in their order. */
const WAYS: Readonly<Record<Way, readonly (keyof typeof Hook)[]>> = {
  input: ["prerouting", "input"],
  output: ["output", "postrouting"],
  forward: ["prerouting", "forward", "postrouting"],
};

/** What the rules of one hook, or of a part of it, made of a packet. */
export interface Stage {
  readonly hook: keyof typeof Hook;
  readonly explanation: NftExplanation;
}

export interface Judged {
  readonly verdict: "accept" | "drop" | "reject" | "queue";
  /** `new`, `established` and so on, as tracking had it. */
  readonly state: string;
  readonly stages: readonly Stage[];
  readonly logs: readonly Log[];
  /** What rules said `log` of, and of a traced packet what it met. */
  readonly events: readonly FirewallEvent[];
}

export interface JudgedPacket {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly way: Way;
  readonly nowMs: number;
  readonly iif?: string | undefined;
  readonly oif?: string | undefined;
  readonly mark?: number | undefined;
  /** Instead of what tracking finds. */
  readonly state?: keyof typeof CtState | undefined;
}

const VERDICTS = {
  [NftVerdict.Accept]: "accept",
  [NftVerdict.Drop]: "drop",
  [NftVerdict.Reject]: "reject",
  [NftVerdict.Queue]: "queue",
} as const;
/** RTN_UNICAST, RTN_LOCAL, RTN_BROADCAST, RTN_MULTICAST. */
const RouteType = { unicast: 1, local: 2, broadcast: 3, multicast: 5 } as const;

/**
 * Judges packets one after another by the rules of a file, as a stack with them would, connection tracking included. Rules
 * that translate addresses are told and not carried out: the capture holds what the packets became.
 */
export class PacketJudge {
  readonly #walk: NftWalk;
  readonly #packet = new NftPacket();
  readonly #tracker: Conntrack;
  readonly #interfaces: readonly string[];
  #logs: Log[] = [];
  #events: FirewallEvent[] = [];

  constructor(linked: LinkedRules, local: ReadonlySet<string>, nowMs: number) {
    const entropy = new Prng(1);
    const addresses = new AddressTable({ entropy });
    this.#interfaces = linked.interfaces;
    this.#tracker = new Conntrack({ addresses, entropy, nowMs });
    const fib = {
      type: (packet: NftPacket, destination: boolean): number => {
        const address = addressOf(packet, destination);
        if (local.has(address) || address === "127.0.0.1" || address === "::1") return RouteType.local;
        if (address === "255.255.255.255") return RouteType.broadcast;
        return /^(2(2[4-9]|3\d)\.|ff)/.test(address) ? RouteType.multicast : RouteType.unicast;
      },
      // Every address is reached by where the packet came from: nothing here knows the routes.
      oif: (packet: NftPacket): number => packet.iif,
      mss: (packet: NftPacket): number => packet.nfproto === Nfproto.Ipv6 ? 1_440 : 1_460, // as Ethernet takes
    };
    const log: NftEnvironment["log"] = (entry, rule, packet) => {
      this.#logs.push(entry);
      this.#events.push(logEvent(linked, entry, rule, packet));
    };
    const trace: NftEnvironment["trace"] = (packet, chain, rule, code) => {
      this.#events.push(traceEvent(linked, chain, rule, code, packet));
    };
    this.#walk = new NftWalk(linked, {
      tracker: this.#tracker,
      addresses,
      fib,
      random: () => entropy.uint32(),
      log,
      trace,
    }, nowMs);
  }

  judge({ bytes, way, nowMs, iif, oif, mark, state }: JudgedPacket): Judged {
    const packet = this.#packet;
    packet.moveTo(new Slab(bytes), 0, bytes.length, nowMs);
    if (iif !== undefined) packet.iif = this.#interfaces.indexOf(iif);
    if (oif !== undefined) packet.oif = this.#interfaces.indexOf(oif);
    packet.mark = mark ?? 0;
    const stages: Stage[] = [];
    this.#logs = [];
    this.#events = [];
    let verdict: NftVerdict = NftVerdict.Accept;
    for (const hook of WAYS[way]) {
      for (const part of this.#parts(packet, hook, state)) {
        const explanation = part();
        if (explanation === undefined) continue;
        stages.push({ hook, explanation });
        if (explanation.verdict !== NftVerdict.Accept) verdict = explanation.verdict;
        if (explanation.verdict === NftVerdict.Drop || explanation.verdict === NftVerdict.Reject) {
          const told = stateName(packet);
          this.#tracker.release(packet);
          return { verdict: VERDICTS[verdict], state: told, stages, logs: this.#logs, events: this.#events };
        }
      }
    }
    const told = stateName(packet);
    if (packet.track.flow >= 0) this.#tracker.confirm(packet);
    return { verdict: VERDICTS[verdict], state: told, stages, logs: this.#logs, events: this.#events };
  }

  /** What happens at a hook, in its order: see `Tracker`. */
  #parts(
    packet: NftPacket,
    hook: keyof typeof Hook,
    state: JudgedPacket["state"],
  ): (() => NftExplanation | undefined)[] {
    const walk = this.#walk;
    const at = Hook[hook];
    const between = (from: number, to: number) => () => walk.judgeBetween(packet, at, from, to);
    const nat = () => {
      const explanation = packet.track.state === CtState.new ? walk.judgeNat(packet, at) : undefined;
      return explanation === undefined || explanation.steps.length === 0 ? undefined : explanation;
    };
    if (hook === "forward") return [between(-Infinity, Infinity)];
    if (hook === "input" || hook === "postrouting") {
      return [between(-Infinity, HookPriority.srcnat), nat, between(HookPriority.srcnat, Infinity)];
    }
    const track = (): undefined => {
      packet.hook = at;
      this.#tracker.track(packet);
      this.#tracker.names.hear(packet);
      if (state !== undefined) packet.track.state = CtState[state];
      return undefined;
    };
    const { conntrack, dstnat } = HookPriority;
    return [between(-Infinity, conntrack), track, between(conntrack, dstnat), nat, between(dstnat, Infinity)];
  }
}

function stateName({ track }: NftPacket): string {
  return Object.keys(CtState).find((name) => CtState[name as keyof typeof CtState] === track.state) ??
    "invalid";
}
