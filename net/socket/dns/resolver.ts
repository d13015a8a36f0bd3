import { isIpv6Handle } from "../../wire/address.ts";
import { NotFound, TimedOut } from "../errors.ts";
import type { Host } from "../host.ts";
import { DnsCache, type DnsFinding } from "./cache.ts";
import { askServer } from "./exchange.ts";
import {
  canonical,
  DNS_TYPES,
  type DnsRecord,
  type DnsRecords,
  type DnsResponse,
  type DnsType,
} from "./message.ts";

export type { DnsRecords, DnsType } from "./message.ts";

/** How a host finds names. */
export interface DnsOptions {
  /** Addresses, asked in this order. Default: those that DHCP and router advertisements name. */
  nameServers?: readonly string[];
  /** Names that need no server, as in /etc/hosts. */
  hosts?: Readonly<Record<string, string | readonly string[]>>;
  /** Domains that short names are looked for in. Default: the one that DHCP names. */
  search?: readonly string[];
  /** Names with fewer dots are looked for in `search` first. Default 1. */
  ndots?: number;
  /** How long one server may take. Default 5,000, as in resolv.conf. */
  timeoutMs?: number;
  /** How often the list of servers is gone through. Default 2. */
  attempts?: number;
  /** Answers that are remembered. Default 1,000. */
  cacheMax?: number;
}

/** `Deno.ResolveDnsOptions`. */
export interface ResolveDnsOptions {
  /** Default: the host's name servers. */
  nameServer?: { ipAddr: string; port?: number };
  /** Gives up. */
  signal?: AbortSignal;
}

/** Aliases that are followed (RFC 1034 section 3.6.2 wants an end). */
export const CNAME_CHAIN_MAX = 8;
/** Questions under way; more of them are somebody's mistake. */
export const QUESTIONS_MAX = 1_024;
const DNS_PORT = 53;
const TIMEOUT_MS = 5_000;
const ATTEMPTS = 2;
/** How long an address of the host's own table counts for rules about names: as long as any may. */
const LISTED_SECONDS = 86_400;
/** RFC 1035 section 2.3.4. */
const LABEL_MAX = 63;
const NAME_MAX = 253;

/** A stub resolver (RFC 1035, RFC 2308) over a host's own sockets. */
export class Resolver {
  readonly cache: DnsCache;
  readonly #host: Host;
  readonly #options: DnsOptions;
  readonly #static = new Map<string, readonly string[]>();
  readonly #pending = new Map<string, Promise<DnsFinding>>();
  readonly #closed = new AbortController();

  /** @throws {TypeError} When the table of hosts names no address. */
  constructor(host: Host, options: DnsOptions = {}) {
    this.#host = host;
    this.#options = options;
    this.cache = new DnsCache(options.cacheMax);
    for (const [name, given] of Object.entries(options.hosts ?? {})) {
      const all = typeof given === "string" ? [given] : given;
      for (const text of all) {
        if (host.stack.addresses.parse(text) === undefined) {
          throw new TypeError(`Cannot take dns.hosts: "${text}" for "${name}" is not an IP address`);
        }
      }
      this.#static.set(canonical(name), all);
    }
  }

  /** The servers that are asked now. */
  nameServers(): string[] {
    const { stack, clock } = this.#host;
    if (this.#options.nameServers !== undefined) return [...this.#options.nameServers];
    const leased = this.#host.leases().flatMap(({ nameServers }) => nameServers);
    const advertised = stack.ndp.nameServers(clock.nowMs()).map((address) => stack.addresses.format(address));
    return [...new Set([...leased, ...advertised])];
  }

  /**
   * The records of a name, as `Deno.resolveDns` gives them.
   * @throws {NotFound} {TimedOut} {TypeError}, what the sockets throw, or the signal's reason.
   */
  async resolve<T extends DnsType>(
    query: string,
    type: T,
    options: ResolveDnsOptions = {},
  ): Promise<DnsRecords[T][]> {
    if (!DNS_TYPES.includes(type)) throw new TypeError(`Records of type "${type}" cannot be resolved`);
    options.signal?.throwIfAborted();
    const listed = type === "A" || type === "AAAA" ? this.#listed(query, type) : undefined;
    if (listed !== undefined) {
      this.#learn([canonical(query)], listed, LISTED_SECONDS);
      return listed as DnsRecords[T][];
    }
    let finding: DnsFinding | undefined;
    for (const name of this.#candidates(this.#asName(query, type))) {
      const found = await this.#find(name, type, options);
      if (found.records.length > 0) {
        const values = found.records.map(({ value }) => value as DnsRecords[T]);
        if (type === "A" || type === "AAAA") {
          const least = Math.min(...found.records.map(({ ttl }) => ttl));
          this.#learn([name, found.records[0]!.name], values as string[], least);
        }
        return values;
      }
      finding ??= found;
    }
    const why = finding?.code === "NXDOMAIN" ? "there is no such name" : `it has no record of type ${type}`;
    throw new NotFound(`Cannot resolve "${query}": ${why}`);
  }

  /**
   * The addresses of a host, in the order in which they should be tried: IPv6 first where it has a route.
   * @throws {NotFound} {TimedOut} {TypeError}, or the signal's reason.
   */
  async lookup(hostname: string, signal?: AbortSignal): Promise<string[]> {
    const { addresses, output } = this.#host.stack;
    if (addresses.parse(hostname) !== undefined) return [hostname];
    const options = signal === undefined ? {} : { signal };
    const usable = (probe: string): boolean => {
      const source = output.sourceTowards(addresses.parse(probe)!);
      return source !== undefined && source !== 0;
    };
    // Whether there is a way to the rest of the world; the tables may still have other answers.
    const types: ("AAAA" | "A")[] = usable("2001:db8::1") ? ["AAAA", "A"] : ["A", "AAAA"];
    const found = await Promise.allSettled(types.map((type) => this.resolve(hostname, type, options)));
    signal?.throwIfAborted();
    const all = found.flatMap((each) => each.status === "fulfilled" ? each.value : []);
    const reachable = all.filter(usable);
    if (all.length > 0) return reachable.length > 0 ? reachable : all;
    const [first] = found;
    throw (first as PromiseRejectedResult).reason;
  }

  /** "localhost" is the machine's (RFC 6761 section 6.3), which no host here reaches, unless the table has it. */
  isLoopback(hostname: string): boolean {
    return /^(.*\.)?localhost\.?$/i.test(hostname) && !this.#static.has(canonical(hostname));
  }

  /** Ends all questions. */
  close(reason: Error): void {
    this.#closed.abort(reason);
  }

  /** Before whoever asked hears of it: what is let out by name is let out at once. */
  #learn(names: readonly string[], addresses: readonly string[], ttlSeconds: number): void {
    const { stack, clock } = this.#host;
    const answers = addresses.map((address) => ({ address, ttlSeconds }));
    stack.learnNames(names.map(canonical), answers, clock.nowMs());
  }

  #listed(query: string, type: "A" | "AAAA"): string[] | undefined {
    const all = this.#static.get(canonical(query));
    const { addresses } = this.#host.stack;
    return all?.filter((text) => isIpv6Handle(addresses.parse(text)!) === (type === "AAAA"));
  }

  /** The name that a question is about; an address's is that of its pointer. */
  #asName(query: string, type: DnsType): string {
    const { addresses } = this.#host.stack;
    const address = addresses.parse(query);
    if (address !== undefined && type === "PTR") {
      if (!isIpv6Handle(address)) return `${query.split(".").reverse().join(".")}.in-addr.arpa.`;
      const digits = addresses.words(address).map((word) => (word >>> 0).toString(16).padStart(8, "0")).join(
        "",
      );
      return `${[...digits].reverse().join(".")}.ip6.arpa.`;
    }
    let name = query;
    if (/[^ -~]/.test(name)) { // as browsers write it in ASCII (RFC 5891)
      try {
        name = new URL(`http://${name}`).hostname;
      } catch {
        throw new TypeError(`"${query}" is no name`);
      }
    }
    const labels = canonical(name).split(".");
    // A last label of digits would be an address that is none (RFC 3696 section 2).
    const wrong = labels.some((label) => label.length === 0 || label.length > LABEL_MAX) ||
      /^\d+$/.test(labels.at(-1)!);
    if (wrong || name.length > NAME_MAX + 1 || /[^!-~]|\\/.test(name)) {
      throw new TypeError(`"${query}" is no name`);
    }
    return name.toLowerCase();
  }

  /** The names to try in turn, without their last dots. */
  #candidates(name: string): string[] {
    if (name.endsWith(".")) return [canonical(name)];
    const leased = this.#host.leases().flatMap(({ domain }) => domain ?? []);
    const searched = (this.#options.search ?? leased).map((domain) => `${name}.${canonical(domain)}`);
    const dots = name.split(".").length - 1;
    return dots < (this.#options.ndots ?? 1) ? [...searched, name] : [name, ...searched];
  }

  /** What there is for a name, remembered or asked for once for all who want to know. */
  #find(name: string, type: DnsType, { nameServer, signal }: ResolveDnsOptions): Promise<DnsFinding> {
    const servers = nameServer === undefined
      ? this.nameServers().map((hostname) => ({ hostname, port: DNS_PORT }))
      : [{ hostname: nameServer.ipAddr, port: nameServer.port ?? DNS_PORT }];
    const where = nameServer === undefined ? "" : `${nameServer.ipAddr} ${nameServer.port ?? DNS_PORT}`;
    const key = `${type} ${name} ${where}`;
    const known = this.cache.get(key, this.#host.clock.nowMs());
    if (known !== undefined) return Promise.resolve(known);
    let asking = this.#pending.get(key);
    if (asking === undefined) {
      if (this.#pending.size >= QUESTIONS_MAX) {
        return Promise.reject(
          new RangeError(`Cannot resolve "${name}": ${QUESTIONS_MAX} questions are under way`),
        );
      }
      asking = this.#follow(key, name, type, servers).finally(() => this.#pending.delete(key));
      this.#pending.set(key, asking);
    }
    return unless(asking, signal);
  }

  /** Asks, and asks again where an alias points elsewhere. */
  async #follow(key: string, name: string, type: DnsType, servers: readonly Server[]): Promise<DnsFinding> {
    let ttl = Infinity;
    let alias = name;
    for (let hops = 0;;) {
      const response = await this.#ask(alias, type, servers);
      const hopsBefore = hops;
      let records: DnsRecord[];
      for (;;) { // the aliases in this answer
        records = response.answers.filter((each) => each.type === type && each.name === alias);
        const next = response.answers.find((each) => each.type === "CNAME" && each.name === alias);
        if (records.length > 0 || next === undefined) break;
        if (++hops > CNAME_CHAIN_MAX) {
          throw new NotFound(`Cannot resolve "${name}": more than ${CNAME_CHAIN_MAX} aliases`);
        }
        ttl = Math.min(ttl, next.ttl);
        alias = canonical(next.value as string);
      }
      // An alias without a word about where it leads: that has to be asked for.
      const unknown = records.length === 0 && hops > hopsBefore && response.code === "NOERROR" &&
        response.negativeTtl === 0;
      if (unknown) continue;
      const least = records.reduce((least, each) => Math.min(least, each.ttl), ttl);
      const finding = { code: response.code, records };
      const lasts = records.length > 0 ? least : Math.min(ttl, response.negativeTtl);
      this.cache.set(key, finding, lasts, this.#host.clock.nowMs());
      return finding;
    }
  }

  /** The first answer of any server. */
  async #ask(name: string, type: DnsType, servers: readonly Server[]): Promise<DnsResponse> {
    const { timeoutMs = TIMEOUT_MS, attempts = ATTEMPTS } = this.#options;
    if (servers.length === 0) throw new NotFound(`Cannot resolve "${name}": no name server is known`);
    let trouble: unknown;
    for (let attempt = 0; attempt < attempts; attempt++) {
      for (const server of servers) {
        try {
          const { signal } = this.#closed;
          const response = await askServer(this.#host, { server, name, type, timeoutMs, signal });
          if (response.code === "NOERROR" || response.code === "NXDOMAIN") return response;
          trouble = new NotFound(`Cannot resolve "${name}": ${server.hostname} says ${response.code}`);
        } catch (error) {
          if (this.#closed.signal.aborted) throw this.#closed.signal.reason;
          // A server that is slow says less than one that refuses.
          if (trouble === undefined || !(error instanceof TimedOut)) trouble = error;
        }
      }
    }
    throw trouble;
  }
}

interface Server {
  readonly hostname: string;
  readonly port: number;
}

/** `work`, unless `signal` ends the waiting first. The work goes on for others. */
function unless<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  return new Promise<T>((resolve, reject) => {
    const aborted = (): void => reject(signal.reason);
    if (signal.aborted) return aborted();
    signal.addEventListener("abort", aborted, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", aborted));
  });
}
