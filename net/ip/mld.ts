import type { Slab } from "../../base/slab.ts";
import { IPV6_ANY } from "../wire/address.ts";
import { Drop } from "../wire/drop.ts";
import type { GroupRecord } from "../wire/igmp.ts";
import type { Ipv4Record } from "../wire/ipv4.ts";
import { IPV6_HEADER_LENGTH } from "../wire/ipv6.ts";
import { isLinkLocalWord } from "../wire/ipv6_address.ts";
import {
  MLD_RECORD_LENGTH,
  MLD_REPORT_LENGTH,
  MldRecord,
  MldType,
  readMld,
  writeMld1,
  writeMld2,
} from "../wire/mld.ts";
import { Membership } from "./membership.ts";
import type { IpOutput } from "./output.ts";
import { HOP_BY_HOP_ALERT_LENGTH, sendIcmpv6WithAlert } from "./router_alert.ts";

const LINK_SCOPE = 0xff02_0000 | 0;
/** First words and last word of solicited-node groups: ff02::1:ff00:0/104 (RFC 4291 section 2.7.1). */
const SOLICITED_NODE = 0xff00_0000 | 0;

/**
 * The IPv6 groups of a stack's interfaces, and their reports on the wire (RFC 3810, RFC 2710). On Ethernet the
 * groups of the own addresses, where neighbours look for them (RFC 4861 section 7.2.1), are joined by
 * themselves.
 */
export class Mld {
  /** Routers hear what is for all of them (RFC 4291 section 2.8). */
  isRouter = false;
  readonly #output: IpOutput;
  readonly #below: (limit: number) => number;
  readonly #memberships: Membership[] = [];
  readonly #record = new MldRecord();
  readonly #allNodes: number;
  readonly #allRouters: number;
  readonly #reportsTo: number;
  /** The own addresses whose groups are joined: what the route table said last. */
  #ownSeen: readonly unknown[] = [];
  #solicited = new Map<string, { interfaceIndex: number; group: number }>();
  #nowMs = 0;

  /** @param below A whole number below a limit, that outsiders do not guess. */
  constructor(output: IpOutput, below: (limit: number) => number) {
    this.#output = output;
    this.#below = below;
    const known = (last: number): number => {
      const address = output.addresses.ofWords([LINK_SCOPE, 0, 0, last]);
      output.addresses.retain(address);
      return address;
    };
    this.#allNodes = known(1);
    this.#allRouters = known(2);
    this.#reportsTo = known(0x16);
  }

  /** Whether packets to a group are for somebody here; interface -1 is any. */
  isMember(interfaceIndex: number, group: number): boolean {
    const { addresses } = this.#output;
    if (group === this.#allNodes) return true; // without joining, and without a word (RFC 3810 section 6)
    if (group === this.#allRouters && this.isRouter) return true;
    const scope = (addresses.word(group, 0) >>> 16) & 15;
    if (scope === 1) return interfaceIndex < 0; // of this node alone
    // Also before an address is ours: who checks that nobody else has it must hear of others that do.
    const solicited = addresses.word(group, 0) === LINK_SCOPE && addresses.word(group, 1) === 0 &&
      addresses.word(group, 2) === 1 && addresses.word(group, 3) >>> 24 === 0xff;
    if (solicited) return true;
    if (interfaceIndex >= 0) return this.#memberships[interfaceIndex]?.isMember(group) ?? false;
    return this.#memberships.some((each) => each?.isMember(group));
  }

  /** One more receiver; false when the interface is in as many groups as it may be. */
  join(interfaceIndex: number, group: number, nowMs: number): boolean {
    this.#nowMs = nowMs;
    return this.#isSilent(group) || this.#of(interfaceIndex).join(group, nowMs);
  }

  leave(interfaceIndex: number, group: number, nowMs: number): void {
    this.#nowMs = nowMs;
    if (!this.#isSilent(group)) this.#of(interfaceIndex).leave(group, nowMs);
  }

  /** A message of MLD came in, its checksum right. */
  input(interfaceIndex: number, ip: Ipv4Record, slab: Slab, nowMs: number): Drop {
    const record = this.#record;
    const reason = readMld(slab, ip.dataStart, ip.dataEnd, record);
    if (reason !== Drop.None) return reason;
    const { addresses } = this.#output;
    // RFC 3810 section 5.1.14, RFC 2710 section 3: from this link, or not at all.
    if (ip.timeToLive !== 1 || !addresses.isLinkLocal(ip.source)) return Drop.MldMalformed;
    const membership = this.#memberships[interfaceIndex];
    if (membership === undefined) return Drop.None;
    const general = slab.bytes.subarray(record.groupAt, record.groupAt + 16).every((byte) => byte === 0);
    const group = general ? 0 : addresses.lookup(slab, record.groupAt, 0);
    if (!general && group === 0) return Drop.None; // about none of ours
    if (record.type === MldType.Report1) membership.heardReport(group, nowMs);
    if (record.type !== MldType.Query) return Drop.None;
    // Asked about sources, we tell of the whole group: that we want them all is true as well.
    const { version, responseMs, robustness, intervalMs } = record;
    membership.query({ version, group, sources: [], responseMs, robustness, intervalMs }, nowMs);
    return Drop.None;
  }

  nextDeadlineMs(): number {
    let deadlineMs = this.#ownSeen === this.#output.routes.ipv6.own ? Infinity : this.#nowMs;
    if (this.#memberships.length === 0) return deadlineMs;
    for (const each of this.#memberships) {
      if (each !== undefined) deadlineMs = Math.min(deadlineMs, each.nextDeadlineMs());
    }
    return deadlineMs;
  }

  advance(nowMs: number): void {
    this.#nowMs = nowMs;
    if (this.#ownSeen !== this.#output.routes.ipv6.own) this.#followOwn(nowMs);
    if (this.#memberships.length === 0) return;
    for (const each of this.#memberships) {
      if (each !== undefined && each.nextDeadlineMs() <= nowMs) each.advance(nowMs);
    }
  }

  /** Joins the groups of addresses that are new, leaves those of addresses that are gone. */
  #followOwn(nowMs: number): void {
    const { addresses, interfaces, routes } = this.#output;
    this.#ownSeen = routes.ipv6.own;
    const wanted = new Map<string, { interfaceIndex: number; group: number }>();
    for (const { words, interfaceIndex } of [...routes.ipv6.own, ...routes.ipv6.unproven]) {
      if (interfaces[interfaceIndex]?.neighbors6 === undefined) continue;
      const last = SOLICITED_NODE | (words[3] & 0xff_ffff);
      const key = `${interfaceIndex} ${last}`;
      if (wanted.has(key)) continue;
      const group = this.#solicited.get(key)?.group ?? addresses.intern(LINK_SCOPE, 0, 1, last, 0);
      if (group !== 0) wanted.set(key, { interfaceIndex, group });
    }
    const before = this.#solicited;
    this.#solicited = wanted;
    for (const [key, { interfaceIndex, group }] of wanted) {
      if (!before.has(key)) this.join(interfaceIndex, group, nowMs);
    }
    for (const [key, { interfaceIndex, group }] of before) {
      if (!wanted.has(key)) this.leave(interfaceIndex, group, nowMs);
    }
  }

  /** RFC 3810 section 6: never reported. */
  #isSilent(group: number): boolean {
    const scope = (this.#output.addresses.word(group, 0) >>> 16) & 15;
    return group === this.#allNodes || scope <= 1;
  }

  #of(interfaceIndex: number): Membership {
    return this.#memberships[interfaceIndex] ??= new Membership(
      {
        report: (records) => this.#report(interfaceIndex, records),
        reportOld: (group) => this.#sendOld(interfaceIndex, MldType.Report1, group, group),
        leaveOld: (group) => this.#sendOld(interfaceIndex, MldType.Done1, group, this.#allRouters),
      },
      this.#below,
      this.#output.addresses,
    );
  }

  /** As many messages as it takes. */
  #report(interfaceIndex: number, records: readonly GroupRecord[]): void {
    const { slab, transportStart, addresses, interfaces } = this.#output;
    const headers = IPV6_HEADER_LENGTH + HOP_BY_HOP_ALERT_LENGTH + MLD_REPORT_LENGTH;
    const most = Math.max(1, Math.floor((interfaces[interfaceIndex]!.mtu6 - headers) / MLD_RECORD_LENGTH));
    for (let first = 0; first < records.length; first += most) {
      const some = records.slice(first, first + most);
      const end = writeMld2(some, slab, transportStart, (...to) => addresses.write(...to));
      this.#send(interfaceIndex, this.#reportsTo, end);
    }
  }

  #sendOld(interfaceIndex: number, type: number, group: number, destination: number): void {
    const { slab, transportStart, addresses } = this.#output;
    const end = writeMld1(type, group, slab, transportStart, (...to) => addresses.write(...to));
    this.#send(interfaceIndex, destination, end);
  }

  /** From the link-local address, or from nobody while there is none (RFC 3810 section 5.2.13). */
  #send(interfaceIndex: number, destination: number, end: number): void {
    const own = this.#output.routes.ipv6.own.find((each) =>
      each.interfaceIndex === interfaceIndex && isLinkLocalWord(each.words[0])
    );
    const source = own?.address ?? IPV6_ANY;
    sendIcmpv6WithAlert(this.#output, interfaceIndex, source, destination, end, this.#nowMs);
  }
}
