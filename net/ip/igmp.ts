import type { Slab } from "../../base/slab.ts";
import { IPV4_ALL_HOSTS, isMulticast } from "../wire/address.ts";
import { Drop } from "../wire/drop.ts";
import {
  type GroupRecord,
  IGMP_LENGTH,
  IgmpRecord,
  igmpRecordLength,
  IgmpType,
  PROTOCOL_IGMP,
  readIgmp,
  writeIgmp,
  writeIgmpReport,
} from "../wire/igmp.ts";
import { IPV4_HEADER_LENGTH, IPV4_ROUTER_ALERT_LENGTH, type Ipv4Record } from "../wire/ipv4.ts";
import { Membership } from "./membership.ts";
import type { IpOutput } from "./output.ts";
import { sendWithRouterAlert } from "./router_alert.ts";

/** 224.0.0.2 and 224.0.0.22: who hears of leaving in version 2, and all reports of version 3. */
const ALL_ROUTERS = 0xe000_0002 | 0;
const IGMP_ROUTERS = 0xe000_0016 | 0;

/** The IPv4 groups of a stack's interfaces, and their reports on the wire (RFC 3376, RFC 2236). */
export class Igmp {
  readonly #output: IpOutput;
  readonly #below: (limit: number) => number;
  readonly #memberships: Membership[] = [];
  readonly #record = new IgmpRecord();
  #nowMs = 0;

  /** @param below A whole number below a limit, that outsiders do not guess. */
  constructor(output: IpOutput, below: (limit: number) => number) {
    this.#output = output;
    this.#below = below;
  }

  /** Whether datagrams to a group are for somebody here; interface -1 is any. */
  isMember(interfaceIndex: number, group: number): boolean {
    if (group === IPV4_ALL_HOSTS) return true; // without joining, and without a word (RFC 3376 section 5)
    if (interfaceIndex >= 0) return this.#memberships[interfaceIndex]?.isMember(group) ?? false;
    return this.#memberships.some((each) => each?.isMember(group));
  }

  /** One more receiver; false when the interface is in as many groups as it may be. */
  join(interfaceIndex: number, group: number, nowMs: number): boolean {
    this.#nowMs = nowMs;
    return group === IPV4_ALL_HOSTS || this.#of(interfaceIndex).join(group, nowMs);
  }

  leave(interfaceIndex: number, group: number, nowMs: number): void {
    this.#nowMs = nowMs;
    if (group !== IPV4_ALL_HOSTS) this.#of(interfaceIndex).leave(group, nowMs);
  }

  /** A message came in. What it asks is answered later. */
  input(interfaceIndex: number, ip: Ipv4Record, slab: Slab, nowMs: number): Drop {
    const record = this.#record;
    const reason = readIgmp(slab, ip.dataStart, ip.dataEnd, record);
    if (reason !== Drop.None) return reason;
    const membership = this.#memberships[interfaceIndex];
    if (membership === undefined) return Drop.None; // in no group, nothing to tell
    const { type, group } = record;
    if (type === IgmpType.ReportV1 || type === IgmpType.ReportV2) membership.heardReport(group, nowMs);
    if (type !== IgmpType.Query) return Drop.None;
    // A router on this link wrote it: everyone else's has passed a hop (RFC 3376 section 4).
    if (ip.timeToLive !== 1 || (group !== 0 && !isMulticast(group))) return Drop.IgmpMalformed;
    const sources = Array.from(
      { length: record.sourceCount },
      (_, at) => slab.view.getInt32(record.sourcesStart + 4 * at),
    );
    const { version, responseMs, robustness, intervalMs } = record;
    membership.query({ version, group, sources, responseMs, robustness, intervalMs }, nowMs);
    return Drop.None;
  }

  nextDeadlineMs(): number {
    let deadlineMs = Infinity;
    if (this.#memberships.length === 0) return deadlineMs;
    for (const each of this.#memberships) {
      if (each !== undefined) deadlineMs = Math.min(deadlineMs, each.nextDeadlineMs());
    }
    return deadlineMs;
  }

  advance(nowMs: number): void {
    this.#nowMs = nowMs;
    if (this.#memberships.length === 0) return;
    for (const each of this.#memberships) {
      if (each !== undefined && each.nextDeadlineMs() <= nowMs) each.advance(nowMs);
    }
  }

  #of(interfaceIndex: number): Membership {
    return this.#memberships[interfaceIndex] ??= new Membership({
      report: (records) => this.#report(interfaceIndex, records),
      reportOld: (group, version) =>
        this.#sendOld(interfaceIndex, version === 1 ? IgmpType.ReportV1 : IgmpType.ReportV2, group, group),
      leaveOld: (group) => this.#sendOld(interfaceIndex, IgmpType.LeaveV2, group, ALL_ROUTERS),
    }, this.#below);
  }

  /** As many messages as it takes (RFC 3376 section 4.2.16). */
  #report(interfaceIndex: number, records: readonly GroupRecord[]): void {
    const room = this.#output.interfaces[interfaceIndex]!.mtu4 - IPV4_HEADER_LENGTH -
      IPV4_ROUTER_ALERT_LENGTH - IGMP_LENGTH;
    let first = 0;
    let length = 0;
    const send = (end: number): void => {
      const at = this.#output.transportStart + IPV4_ROUTER_ALERT_LENGTH;
      this.#send(
        interfaceIndex,
        IGMP_ROUTERS,
        writeIgmpReport(records.slice(first, end), this.#output.slab, at),
      );
    };
    records.forEach((record, at) => {
      const more = igmpRecordLength(record);
      if (length + more > room) {
        send(at);
        first = at;
        length = 0;
      }
      length += more;
    });
    send(records.length);
  }

  #sendOld(interfaceIndex: number, type: number, group: number, destination: number): void {
    const { slab, transportStart } = this.#output;
    this.#send(
      interfaceIndex,
      destination,
      writeIgmp(type, group, slab, transportStart + IPV4_ROUTER_ALERT_LENGTH),
    );
  }

  #send(interfaceIndex: number, destination: number, end: number): void {
    sendWithRouterAlert(this.#output, PROTOCOL_IGMP, interfaceIndex, destination, end, this.#nowMs);
  }
}
