import type { Ipv4Record } from "../../wire/ipv4.ts";
import type { Classifier } from "./classifier.ts";
import type { Load } from "./compile_value.ts";
import type { Value } from "./linked.ts";
import { Nfproto, NftPacket } from "./packet.ts";

/** A field by which packets are classified, in the order of the classifier's dimensions. */
export interface Dimension {
  readonly value: Value;
  /** Reads what is not read here. */
  readonly load: Load;
}

/** Numbers of a field that is read here: its dimension and first byte, its window, which row no rule takes: where not all ask, none. */
const AT = {
  dimension: 0,
  offset: 1,
  table: 2,
  entries: 3,
  base: 4,
  shift: 5,
  below: 6,
  above: 7,
  barren: 8,
} as const;
const FIELD = 9;

/** Where addresses stand in a header of IPv4, and keys of `meta` that the way of a packet at input says. */
const SOURCE = 12;
const DESTINATION = 16;
const WAY: readonly string[] = ["iif", "iifname", "oif", "oifname", "mark"];

/** Protocols of a family, and one more: there is none. */
const PROTOCOLS = 257;

/**
 * The class of each field of a packet. It is what a packet costs whose flow is not known, so it is short: family and protocol
 * are one look for both, words of addresses and ports are found by one table of their first bits where that says all
 * of them, and nothing more is read when no rule is left.
 */
export class PacketClasses {
  /** By dimension: the packet's row. Of one that no rule takes those that were not looked up are another packet's. */
  readonly rows: Int32Array;
  /** Family and protocol of the packet as far as rules ask for them: which of those that they tell apart. */
  kind = 0;
  /** Dimensions whose rows `kind` does not say: they come first. */
  readonly others: number;
  readonly #classifier: Classifier;
  /** By family and protocol, the kind. */
  readonly #kinds = new Int32Array(2 * PROTOCOLS);
  /** By kind: the rows of family and protocol, and whether no rule takes it. */
  readonly #kindRows: Int32Array;
  readonly #kindBarren: Uint8Array;
  readonly #ports: Int32Array;
  readonly #addresses: Int32Array;
  /** Ports and addresses. */
  readonly #fields: readonly Field[];
  readonly #tables: Int32Array;
  readonly #loaded: readonly { readonly at: number; readonly load: Load; readonly askedByAll: boolean }[];
  readonly #key = new Int32Array(4);
  /** By interface by which a packet has come to its input: the rows of `#loaded`. Empty: that does not say them. */
  readonly #ways: Int32Array;
  readonly #wayBarren: Uint8Array;
  /** The one whose rows stand in `rows`; -1 for none of them. */
  #way = -1;
  /** Whether `readIpv4` can be asked. */
  readonly isOfRecord: boolean;

  /**
   * @param dimensions The family and the protocol, if they are among them, stand last.
   * @param interfaces How many there are.
   */
  constructor(classifier: Classifier, dimensions: readonly Dimension[], interfaces: number) {
    this.#classifier = classifier;
    this.rows = classifier.newRows();
    const kinds = dimensions.map(({ value }) => fieldKind(value));
    this.others = kinds.filter(({ field }) => field !== "nfproto" && field !== "l4proto").length;
    const tables: number[] = [];
    const ports: number[] = [];
    const addresses: number[] = [];
    const loaded: { at: number; load: Load; askedByAll: boolean }[] = [];
    kinds.forEach(({ field, offset }, at) => {
      if (at >= this.others) return;
      const askedByAll = classifier.isAskedByAll(at);
      if (field === "other") {
        loaded.push({ at, load: dimensions[at]!.load, askedByAll });
        return;
      }
      const { entries, base, shift, below, above } = classifier.window(at);
      (field === "port" ? ports : addresses)
        .push(
          at,
          offset,
          tables.length,
          entries.length,
          base | 0,
          shift,
          below,
          above,
          askedByAll ? classifier.absent : -1,
        );
      for (const entry of entries) tables.push(entry);
    });
    this.#tables = Int32Array.from(tables);
    this.#ports = Int32Array.from(ports);
    this.#addresses = Int32Array.from(addresses);
    this.#fields = [ports, addresses].flatMap((numbers) => fieldsOf(numbers, this.#tables));
    this.#loaded = loaded;
    const { kindRows, barren } = this.#tellKinds(
      kinds.slice(this.others).map(({ field }) => field),
      dimensions.length,
    );
    this.#kindRows = kindRows;
    this.#kindBarren = barren;
    this.rows.set(kindRows.subarray(0, this.rows.length - this.others), this.others);
    this.isOfRecord = kinds.every(({ field, offset }, at) =>
      field === "port"
        ? offset <= 2
        : field === "address"
        ? offset === SOURCE || offset === DESTINATION
        : field !== "other" || isOfWay(dimensions[at]!.value)
    );
    this.#ways = new Int32Array(interfaces * loaded.length);
    this.#wayBarren = new Uint8Array(interfaces);
    const packet = new NftPacket();
    for (let iif = 0; iif < interfaces && this.isOfRecord; iif++) {
      packet.iif = iif;
      this.#wayBarren[iif] = Number(!this.#readLoaded(packet));
      loaded.forEach(({ at }, field) => this.#ways[iif * loaded.length + field] = this.rows[at]!);
    }
  }

  /** Fills `#kinds`. Where rules ask nothing at all, all packets are alike. */
  #tellKinds(fields: readonly string[], dimensions: number): { kindRows: Int32Array; barren: Uint8Array } {
    const classifier = this.#classifier;
    const known = new Map<string, number>();
    const kindRows: number[] = [];
    const barren: number[] = [];
    for (const nfproto of [Nfproto.Ipv4, Nfproto.Ipv6]) {
      for (let protocol = -1; protocol < PROTOCOLS - 1; protocol++) {
        const rows = fields.map((field, at) => {
          if (field === "nfproto") return classifier.rowOfWord(this.others + at, nfproto);
          return protocol < 0 ? classifier.absent : classifier.rowOfWord(this.others + at, protocol);
        });
        // Fields of IPv4's header mean nothing in IPv6's, so the family is always told apart.
        const key = `${nfproto} ${rows}`;
        let kind = known.get(key);
        if (kind === undefined) {
          known.set(key, kind = known.size);
          kindRows.push(...rows);
          barren.push(Number(
            dimensions === 0 ||
              rows.some((row, at) => row === classifier.absent && classifier.isAskedByAll(this.others + at)),
          ));
        }
        this.#kinds[(nfproto === Nfproto.Ipv6 ? PROTOCOLS : 0) + protocol + 1] = kind;
      }
    }
    return { kindRows: Int32Array.from(kindRows), barren: Uint8Array.from(barren) };
  }

  /** Looks the packet up in each dimension. False: no rule takes it, whatever the other fields have. */
  read(packet: NftPacket): boolean {
    const { rows } = this;
    const kind = this.#kinds[(packet.nfproto === Nfproto.Ipv6 ? PROTOCOLS : 0) + packet.protocol + 1]!;
    if (kind !== this.kind) this.#toKind(kind);
    if (this.#kindBarren[kind] === 1) return false;
    const { absent } = this.#classifier;
    const { slab: { view }, transport, start, end } = packet;
    const ports = this.#ports;
    for (let field = 0; field < ports.length; field += FIELD) {
      const from = transport + ports[field + AT.offset]!;
      let row = absent;
      if (transport >= 0 && from + 2 <= end) {
        const port = view.getUint16(from);
        row = this.#rowIn(ports, field, port);
      }
      rows[ports[field]!] = row;
      if (row === ports[field + AT.barren]) return false;
    }
    const addresses = this.#addresses;
    for (let field = 0; field < addresses.length; field += FIELD) {
      const from = start + addresses[field + AT.offset]!;
      let row = absent;
      if (from + 4 <= end) {
        const word = view.getInt32(from);
        row = this.#rowIn(addresses, field, word);
      }
      rows[addresses[field]!] = row;
      if (row === addresses[field + AT.barren]) return false;
    }
    return this.#loaded.length === 0 || this.#readLoaded(packet);
  }

  /**
   * As `read`, of a packet of IPv4 that has come to its input, that nobody tracks and no rule has met yet.
   * @param iif The interface by which it has come.
   */
  readIpv4(ip: Ipv4Record, view: DataView, iif: number): boolean {
    const kind = this.#kinds[ip.protocol + 1]!;
    if (kind !== this.kind) this.#toKind(kind);
    if (iif !== this.#way) this.#toWay(iif);
    if (this.#kindBarren[kind] === 1 || this.#wayBarren[iif] === 1) return false;
    const { rows } = this;
    const { dataStart, dataEnd } = ip;
    const fields = this.#fields;
    for (let at = 0; at < fields.length; at++) {
      const { dimension, offset, barren, entries, base, shift, below, above } = fields[at]!;
      const isPort = offset < SOURCE;
      const from = dataStart + offset;
      let row = this.#classifier.absent;
      if (!isPort || from + 2 <= dataEnd) {
        const word = (isPort ? view.getUint16(from) : offset === SOURCE ? ip.source : ip.destination) | 0;
        const place = ((word - base) | 0) >>> shift;
        row = place < entries.length ? entries[place]! : word >>> 0 < base >>> 0 ? below : above;
        if (row < 0) row = this.#classifier.rowFrom(dimension, word, row);
      }
      rows[dimension] = row;
      if (row === barren) return false;
    }
    return true;
  }

  /** The row of a word in the window of a field. */
  #rowIn(fields: Int32Array, field: number, word: number): number {
    const base = fields[field + AT.base]!;
    const place = (word - base) >>> fields[field + AT.shift]!;
    if (place >= fields[field + AT.entries]!) {
      return fields[field + (word >>> 0 < base >>> 0 ? AT.below : AT.above)]!;
    }
    const row = this.#tables[fields[field + AT.table]! + place]!;
    return row >= 0 ? row : this.#classifier.rowFrom(fields[field + AT.dimension]!, word, row);
  }

  #toKind(kind: number): void {
    const { rows, others } = this;
    this.kind = kind;
    const width = rows.length - others;
    for (let at = 0; at < width; at++) rows[others + at] = this.#kindRows[kind * width + at]!;
  }

  #toWay(iif: number): void {
    const loaded = this.#loaded;
    this.#way = iif;
    for (let field = 0; field < loaded.length; field++) {
      this.rows[loaded[field]!.at] = this.#ways[iif * loaded.length + field]!;
    }
  }

  #readLoaded(packet: NftPacket): boolean {
    const loaded = this.#loaded;
    this.#way = -1;
    const classifier = this.#classifier;
    const { absent } = classifier;
    for (let field = 0; field < loaded.length; field++) {
      const { at, load, askedByAll } = loaded[field]!;
      const row = load(packet, this.#key, 0) ? classifier.rowOf(at, this.#key, 0) : absent;
      this.rows[at] = row;
      if (row === absent && askedByAll) return false;
    }
    return true;
  }
}

/** The numbers of fields as records: what is read of a header is found with fewer steps so. */
interface Field {
  readonly dimension: number;
  readonly offset: number;
  readonly barren: number;
  readonly entries: Int32Array;
  readonly base: number;
  readonly shift: number;
  readonly below: number;
  readonly above: number;
}

function fieldsOf(numbers: readonly number[], tables: Int32Array): Field[] {
  return Array.from({ length: numbers.length / FIELD }, (_, at): Field => {
    const field = (number: number): number => numbers[at * FIELD + number]!;
    return {
      dimension: field(AT.dimension),
      offset: field(AT.offset),
      barren: field(AT.barren),
      entries: tables.slice(field(AT.table), field(AT.table) + field(AT.entries)),
      base: field(AT.base),
      shift: field(AT.shift),
      below: field(AT.below),
      above: field(AT.above),
    };
  });
}

function isOfWay(value: Value): boolean {
  return value.op === "meta" && WAY.includes(value.key);
}

/** Whether a field is the family, the protocol, a port, a word of an address, or another. */
export function fieldKind(value: Value): { field: string; offset: number } {
  if (value.op === "meta" && (value.key === "nfproto" || value.key === "l4proto")) {
    return { field: value.key, offset: 0 };
  }
  if (value.op === "payload" && value.bit % 8 === 0) {
    const offset = value.bit >> 3;
    if (value.base === "nh" && value.bits === 32) return { field: "address", offset };
    if (value.base === "th" && value.bits === 16) return { field: "port", offset };
  }
  return { field: "other", offset: 0 };
}
