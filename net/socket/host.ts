import { type Clock, SystemClock } from "../../base/clock.ts";
import { type Entropy, systemEntropy } from "../../base/random.ts";
import { Slab } from "../../base/slab.ts";
import { Field, RecordState } from "../connections/connection_map.ts";
import { parseTuple } from "../connections/tuple.ts";
import type { DhcpLease } from "../dhcp/lease.ts";
import { Firewall } from "../firewall/firewall.ts";
import type { FirewallEvent } from "../firewall/nft/events.ts";
import type { Ruleset } from "../firewall/nft/schema.ts";
import type { AddressSpec, RouteConfig } from "../ip/route_config.ts";
import type { Link, LinkCounters, LinkSink } from "../link/link.ts";
import { SegmentMerger } from "../link/merger.ts";
import { Stack, type StackOptions, type StackRecorder } from "../stack.ts";
import type { TcpListener as ListenEntry } from "../tcp/listeners.ts";
import type { Tcb } from "../tcp/tcb.ts";
import { checkTcpOptions } from "../tcp/options.ts";
import type { UdpSocket } from "../udp/udp.ts";
import { CompiledPolicy } from "../wake/policy.ts";
import { isMulticast, isUnspecified } from "../wire/address.ts";
import { formatMac, parseMac } from "../wire/mac.ts";
import { addressOf, checkPort } from "./address.ts";
import { TcpConnection } from "./conn.ts";
import { ConnectedDatagrams, Datagrams } from "./datagram.ts";
import { DhcpConfiguration, type DhcpOptions } from "./dhcp.ts";
import { type DnsRecords, type DnsType, type ResolveDnsOptions, Resolver } from "./dns/resolver.ts";
import { Dialer } from "./dial.ts";
import type { Endpoint } from "./endpoint.ts";
import { EphemeralPorts } from "./ephemeral_ports.ts";
import { AddrInUse, AddrNotAvailable, BadResource, Interrupted, NetworkUnreachable } from "./errors.ts";
import { type Handlers, HandlerServer } from "./handlers.ts";
import type { HostInterface, HostOptions } from "./host_options.ts";
import { ConnListener } from "./listener.ts";
import { takeLeases } from "./leased_routes.ts";
import type { Acceptor, Owner } from "./owner.ts";
import { Liveness } from "./liveness.ts";
import { Owners } from "./owners.ts";
import { throwLater } from "./throw_later.ts";
import { PacketWatch, type PacketWatcher } from "./packet_watch.ts";
import { Turns } from "./turns.ts";
import type {
  ConnectDatagramOptions,
  ConnectedUdpConn,
  ConnectOptions,
  DatagramOptions,
  ListenOptions,
  UdpConn,
} from "./types.ts";

/** Deno's default. */
const BACKLOG_DEFAULT = 511;

/**
 * A host on a userspace network: a stack, its links and a clock, with Deno's networking calls.
 *
 * All work is done in turns: a batch of frames, a timer or a call of the application starts one, and
 * at its end everything that is due leaves.
 */
export class Host {
  /**
   * The stack below. Its parts are not a stable interface.
   * @internal
   */
  readonly stack: Stack;
  /** The time that it goes by. */
  readonly clock: Clock;
  /**
   * What a process finishes before it lets go of its connections: each begins nothing new and resolves when nothing is
   * under way, or when the signal says that it has taken long enough.
   * @internal
   */
  readonly drains: Set<(signal: AbortSignal) => Promise<void>> = new Set();
  readonly #recorder: StackRecorder | undefined;
  readonly #forwards: boolean;
  readonly #dns: Resolver;
  readonly #dialer: Dialer;
  readonly #routeConfig: RouteConfig;
  readonly #leases = new Map<number, DhcpLease>(); // by interface
  readonly #onLinkClosed: HostOptions["onLinkClosed"];
  readonly #onDuplicateAddress: HostOptions["onDuplicateAddress"];
  readonly #ports: EphemeralPorts;
  readonly #links: Link[] = [];
  /** @internal Whether the process lives for it. */
  readonly liveness: Liveness = new Liveness(() => [...this.#links, this.#turns]);
  readonly #owners: Owners;
  readonly #turns: Turns;
  readonly #watch: PacketWatch;
  readonly #datagrams = new Map<UdpSocket, Datagrams>();
  readonly #interfaceNames: readonly string[];
  #closed = false;
  #released: Promise<unknown> = Promise.resolve();

  /**
   * Opens the links.
   * @throws {RouteError} {FirewallError} {TypeError} When an option is wrong; nothing is opened then.
   */
  constructor(options: HostOptions) {
    this.clock = options.clock ?? new SystemClock();
    const entropy = options.entropy ?? systemEntropy;
    const stackOptions: StackOptions = {
      nowMs: this.clock.nowMs(),
      entropy,
      ...(options.tcp === undefined ? {} : { tcp: options.tcp }),
      forwarding: options.forwarding ?? false,
      ...(options.connectionsMax === undefined ? {} : { connectionsMax: options.connectionsMax }),
    };
    this.#recorder = options.recorder;
    this.#forwards = options.forwarding ?? false;
    this.stack = options.recorder?.stack(stackOptions) ?? new Stack(stackOptions);
    this.#watch = new PacketWatch(this.stack);
    const names = this.#interfaceNames = options.interfaces.map(({ name }, index) => name ?? `net${index}`);
    options.interfaces.forEach(({ link, mac }, index) => {
      this.stack.addInterface({ name: names[index]!, link, mac: stationAddress(mac, entropy) });
    });
    const { subnets, routes } = options;
    const addresses = options.addresses?.map((each) => probedByInterface(each, options.interfaces));
    this.#routeConfig = {
      ...(addresses === undefined ? {} : { addresses }),
      ...(subnets === undefined ? {} : { subnets }),
      ...(routes === undefined ? {} : { routes }),
    };
    this.stack.ndp.duplicate = (index, address) => this.#duplicateAddress(names[index]!, address);
    this.stack.setRoutes(this.#routeConfig);
    const { firewall } = options;
    if (firewall !== undefined) {
      if ("tables" in firewall) this.stack.setRules(firewall);
      else this.stack.firewall = new Firewall(firewall, names);
    }
    this.#owners = new Owners(this.stack, this.clock);
    this.#turns = new Turns(this.clock, {
      poll: (nowMs, timers) => this.stack.poll(nowMs, timers),
      again: () => this.#owners.tellCalledOff(),
    });
    this.stack.upcalls = {
      tcpEvents: (tcb, events) => this.#owners.tcpEvents(tcb, events),
      tcpSuspended: (tcb, record) => this.#owners.tcpSuspended(tcb, record),
      tcpRestored: (tcb, record) => this.#owners.tcpRestored(tcb, record),
      udpReadable: (socket) => this.#datagrams.get(socket)?.readable(),
      stray: (interfaceIndex, packet) => options.shard?.pass(interfaceIndex, packet) ?? false,
    };
    this.#dns = new Resolver(this, options.dns);
    this.#ports = new EphemeralPorts(this.stack.tcp.secrets, options.shard);
    this.#dialer = new Dialer(
      this,
      this.#owners,
      this.#ports,
      this.#dns,
      addresses?.[0]?.address.split("/")[0],
    );
    this.#onLinkClosed = options.onLinkClosed?.bind(options);
    this.#onDuplicateAddress = options.onDuplicateAddress?.bind(options);
    options.interfaces.forEach(({ link }, index) => this.#openLink(link, index, names[index]!));
    if (options.shard !== undefined) {
      if (this.#links.some(({ medium }) => medium !== "ip")) {
        throw new TypeError(
          "Cannot share addresses on an Ethernet: shards need links that carry bare IP packets",
        );
      }
      this.stack.sharesAddresses = true;
      options.shard.attach(this);
    }
    if (addresses?.some(({ dad }) => dad)) this.kick();
    options.interfaces.forEach(({ link, ipv6 = {} }, index) => {
      if (link.medium !== "ethernet" || ipv6 === false) return;
      this.stack.autoconfigure(index, ipv6, this.clock.nowMs());
      this.kick();
    });
  }

  /** The station address of an interface, for its peers' configuration. */
  macOf(interfaceIndex: number): string {
    const { macHi, macLo } = this.stack.output.interfaces[interfaceIndex]!;
    return formatMac(macHi, macLo);
  }

  /**
   * Has an interface configured by DHCP (RFC 2131): asks for an address, routes, MTU and name servers, and
   * renews them until the result is stopped. Waits for the first lease as long as it takes, or as `signal` says.
   *
   * @throws {TypeError} {Interrupted}, or the signal's reason.
   * @example
   * ```ts ignore
   * const dhcp = await host.configureByDhcp({ signal: AbortSignal.timeout(10_000) });
   * console.log(dhcp.lease?.address);
   * ```
   */
  async configureByDhcp(options: DhcpOptions = {}): Promise<DhcpConfiguration> {
    this.checkOpen();
    options.signal?.throwIfAborted();
    const configuration = new DhcpConfiguration(this, options);
    await configuration.ready();
    return configuration;
  }

  /** The leases in use, by interface. */
  leases(): DhcpLease[] {
    return [...this.#leases.values()];
  }

  /**
   * Listens like `Deno.listen`.
   * @throws {AddrInUse} {AddrNotAvailable} {TypeError}
   */
  listen(options: ListenOptions & { transport?: "tcp" } = {}): ConnListener {
    const entry = this.addListener(options);
    const listener = new ConnListener(this, entry);
    this.#install(entry, listener);
    return listener;
  }

  /**
   * Serves connections by handlers: while such a connection sleeps, nothing of it is left in memory
   * but its map slot.
   * @throws {AddrInUse} {AddrNotAvailable} {TypeError}
   */
  serve(handlers: Handlers & ListenOptions): HandlerServer {
    const entry = this.addListener(handlers);
    const server = new HandlerServer(this, entry, handlers);
    this.#install(entry, server);
    return server;
  }

  /**
   * Connects like `Deno.connect`. Without a hostname it connects to this host itself, at the first of
   * its addresses; loopback is the machine's, and no host here reaches it.
   * @throws {ConnectionRefused} {TimedOut} {NetworkUnreachable} {AddrNotAvailable} {TypeError}, or the signal's reason.
   */
  async connect(options: ConnectOptions): Promise<TcpConnection> {
    return new TcpConnection(await this.open(options));
  }

  /** @internal As `connect`, but gives the bare endpoint that adapters build on. */
  open(options: ConnectOptions): Promise<Endpoint> {
    return this.#dialer.open(options);
  }

  /**
   * The records of a name, as `Deno.resolveDns` gives them, by the host's own sockets and name servers.
   * @throws {NotFound} {TimedOut} {TypeError}, or the signal's reason.
   * @example
   * ```ts ignore
   * console.log(await host.resolveDns("example.com", "MX")); // [{ preference: 10, exchange: "mail.example.com." }]
   * ```
   */
  async resolveDns<T extends DnsType = "A">(
    query: string,
    recordType: T = "A" as T,
    options: ResolveDnsOptions = {},
  ): Promise<DnsRecords[T][]> {
    this.checkOpen();
    const hold = this.liveness.open();
    return await this.#dns.resolve(query, recordType, options).finally(() => hold.close());
  }

  /** The name servers that are asked now. */
  nameServers(): string[] {
    return this.#dns.nameServers();
  }

  /**
   * Binds a UDP port like `Deno.listenDatagram`.
   * @throws {AddrInUse} {AddrNotAvailable} {TypeError}
   */
  listenDatagram(options: DatagramOptions = {}): UdpConn {
    this.checkOpen();
    const { address, port } = this.#localAddress(options, true);
    const socket = this.#bindUdp(address, port, 0, 0, options.reuseAddress);
    const datagrams = new Datagrams(this, socket, options, () => this.#unbindUdp(socket));
    this.#datagrams.set(socket, datagrams);
    return datagrams;
  }

  /**
   * A UDP socket with one peer: it hears nobody else, and is told when the peer's host refuses.
   * @throws {AddrInUse} {AddrNotAvailable} {NetworkUnreachable} {TypeError}
   */
  async connectDatagram(options: ConnectDatagramOptions): Promise<ConnectedUdpConn> {
    this.checkOpen();
    const { localHostname, localPort = 0 } = options;
    const hostname = this.#dialer.isName(options.hostname)
      ? (await this.#dns.lookup(options.hostname))[0]!
      : options.hostname;
    this.checkOpen();
    const remote = addressOf(hostname, this.stack.addresses);
    checkPort(options.port, 1);
    const source = this.stack.output.sourceTowards(remote);
    if (source === undefined || source === 0) {
      throw new NetworkUnreachable(`Cannot connect to ${hostname}: no route`);
    }
    const local = localHostname === undefined
      ? { address: source, port: localPort }
      : this.#localAddress({ port: localPort, hostname: localHostname });
    checkPort(local.port, 0);
    const socket = this.#bindUdp(local.address, local.port, remote, options.port);
    const datagrams = new ConnectedDatagrams(this, socket, options, () => this.#unbindUdp(socket));
    this.#datagrams.set(socket, datagrams);
    return datagrams;
  }

  #bindUdp(address: number, port: number, remote: number, remotePort: number, shared = false): UdpSocket {
    const bind = (candidate: number): UdpSocket | undefined =>
      this.stack.udp.bind(address, candidate, remote, remotePort, shared);
    const socket = port === 0 ? this.#ports.forBinding(address, bind) : bind(port);
    if (socket === undefined) throw new AddrInUse(`Cannot bind UDP port ${port}: address already in use`);
    return socket;
  }

  #unbindUdp(socket: UdpSocket): void {
    this.stack.udp.unbind(socket);
    this.#datagrams.delete(socket);
  }

  /** Ids of all connections, awake and asleep, or of those on one local port. */
  *connections(localPort?: number): IterableIterator<string> {
    const map = this.stack.connections;
    const records: number[] = [];
    map.forEach((record) => void records.push(record));
    for (const record of records) {
      if (map.state(record) === RecordState.free) continue; // it ended while we went through the list
      const ports = map.get(record, Field.ports);
      if (localPort !== undefined && ports >>> 16 !== localPort) continue;
      yield this.stack.idOf(record);
    }
  }

  /** The record of a connection by its id, or -1. */
  recordOf(id: string): number {
    const tuple = parseTuple(id, this.stack.addresses);
    return this.stack.connections.find(
      tuple.localAddress,
      tuple.remoteAddress,
      tuple.localPort,
      tuple.remotePort,
    );
  }

  /**
   * Takes other nftables rules, all at once, while traffic flows; `undefined` for none. To change some, give what
   * `rules()` says with the change: so counters and sets go on.
   * @throws {LinkError} At the first mistake; the old rules stay in force.
   * @example
   * ```ts ignore
   * host.setRules(readTextRules(await Deno.readTextFile("/etc/nftables.conf")));
   * ```
   */
  setRules(ruleset: Ruleset | undefined): void {
    this.stack.setRules(ruleset);
  }

  /**
   * Tells of each packet of which a rule says `log`, and of what a packet with `meta nftrace set 1` meets, as `nft monitor
   * trace` does; `formatFirewallEvent` makes a line of it. One listener at a time; `undefined` for none.
   * @example
   * ```ts ignore
   * host.onFirewallEvent((event) => console.log(JSON.stringify(event)));
   * ```
   */
  onFirewallEvent(listener: ((event: FirewallEvent) => void) | undefined): void {
    this.stack.hooks.event = listener;
  }

  /** The nftables rules in force, with what they have counted and learnt; `undefined` without any. */
  rules(): Ruleset | undefined {
    return this.stack.hooks.rules?.list(this.clock.nowMs());
  }

  /**
   * Stops everything at once. Connections get RST unless they sleep or are about to; whoever waits for
   * one is told `Interrupted`, whoever waits to accept one `BadResource`; links are closed.
   */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#turns.stop();
    this.#dns.close(new Interrupted("operation canceled"));
    const { stack } = this;
    for (const tcb of stack.tcp.tcbs()) {
      if (!tcb.saving) stack.calls.abort(stack.tcp, tcb, this.clock.nowMs());
    }
    stack.output.frames.flush();
    this.#released = Promise.all(this.#links.map((link) => link.close()));
    for (const each of this.#owners.all()) each.hostClosed();
    this.#owners.stopWaiting();
    for (const each of [...this.#datagrams.values()]) each.hostClosed();
    this.#recorder?.close();
  }

  /** @internal Whether what is asked of its stack is recorded. */
  get recorded(): boolean {
    return this.#recorder !== undefined;
  }

  /** Whether it has been closed. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Resolves, after `close`, when the devices of its links are free for somebody else. */
  async released(): Promise<void> {
    await this.#released;
  }

  /** As `close()`. */
  [Symbol.dispose](): void {
    this.close();
  }

  // For the socket layer.

  /** Takes or gives up what a DHCP server has given for an interface. Routes that make no sense are left out. */
  setLease(interfaceIndex: number, lease: DhcpLease | undefined): void {
    if (lease === undefined) this.#leases.delete(interfaceIndex);
    else this.#leases.set(interfaceIndex, lease);
    this.stack.limitMtu(interfaceIndex, lease?.mtu ?? Infinity);
    takeLeases(this.#routeConfig, this.#leases, (config) => this.stack.setRoutes(config));
  }

  /** Asks for a turn soon. Everything that the application did until then goes out together. */
  kick(): void {
    this.#turns.kick();
  }

  /** Does a turn now. */
  turn(): void {
    this.#turns.turn();
  }

  /**
   * Asks for a connection that sleeps, or whose image is being written, to be awake. Its owner hears of
   * it by `restored`.
   */
  wake(record: number): void {
    if (this.#closed) return;
    const { connections, tcp } = this.stack;
    const tcb = tcp.tcbIn(connections.get(record, Field.slot));
    if (tcb?.record === record) { // asleep, the slot is a location and nobody's TCB has this record
      if (!tcb.saving) return;
      this.#owners.callOff(tcb);
    }
    this.stack.sleepers.wake(record, this.clock.nowMs());
    this.kick();
  }

  /** @internal */
  setOwner(tcb: Tcb, owner: Owner | undefined): void {
    this.#owners.set(tcb, owner);
  }

  /** @internal Enters a listener. */
  addListener(options: ListenOptions): ListenEntry {
    this.checkOpen();
    const { address, port } = this.#localAddress(options);
    const backlog = options.tcpBacklog ?? BACKLOG_DEFAULT;
    const { tcpOptions } = options;
    if (tcpOptions !== undefined) checkTcpOptions(tcpOptions);
    const { fastOpen = 0 } = options;
    if (!(Number.isInteger(fastOpen) && fastOpen >= 0)) {
      throw new RangeError(`Cannot listen with fastOpen ${fastOpen}: it must be a count of connections`);
    }
    const { wake } = options;
    if (wake !== undefined) void new CompiledPolicy(wake, this.#interfaceNames);
    const { durable = false } = options;
    if (durable) this.checkDurable("listen", fastOpen > 0);
    const add = (candidate: number): ListenEntry | undefined =>
      this.stack.tcp.listeners.add(address, candidate, backlog, durable);
    const entry = port === 0 ? this.#ports.forBinding(address, add) : add(port);
    if (entry === undefined) throw new AddrInUse(`Cannot listen on port ${port}: address already in use`);
    this.stack.tcp.listeners.configure(
      entry,
      tcpOptions === undefined ? undefined : { ...tcpOptions },
      fastOpen,
    );
    if (wake !== undefined) this.stack.sleepers.setPolicy(entry, structuredClone(wake));
    return entry;
  }

  /** @internal Removes a listener. `keeper` goes on serving its sleeping connections, until somebody else listens there. */
  removeListener(entry: ListenEntry, keeper?: Acceptor): void {
    const { sleepers } = this.stack;
    if (sleepers.budgetOf(entry) !== undefined) sleepers.setPolicy(entry, undefined);
    this.stack.tcp.listeners.remove(entry);
    this.#owners.remove(entry, keeper);
  }

  #install(entry: ListenEntry, acceptor: Acceptor): void {
    this.#owners.install(entry, acceptor);
    for (const record of this.#owners.unclaimedOf(entry)) this.wake(record);
    if (this.stack.tcp.awake === 0) return;
    queueMicrotask(() => { // not inside the caller's call
      if (!this.#closed && this.#owners.offerUnowned(entry, acceptor)) this.kick();
    });
  }

  /** @internal @throws {TypeError} When connections of this host cannot be durable, or not in this way. */
  checkDurable(what: "listen" | "connect", fastOpen: boolean): void {
    if (this.stack.sleepers.owner === undefined) {
      throw new TypeError(`Cannot ${what} durably: this host has no store (a SleepyHost has)`);
    }
    if (fastOpen) throw new TypeError(`Cannot ${what} durably with fastOpen: its data is in no log`);
  }

  /** @internal @throws {BadResource} */
  checkOpen(): void {
    if (this.#closed) throw new BadResource("Host has been closed");
  }

  #localAddress(
    options: { port?: number; hostname?: string },
    mayBeGroup = false,
  ): { address: number; port: number } {
    const { port = 0, hostname = "0.0.0.0" } = options;
    const address = addressOf(hostname, this.stack.addresses);
    checkPort(port, 0);
    const isGroup = mayBeGroup && isMulticast(address);
    if (!isUnspecified(address) && !this.stack.isOurs(address) && !isGroup) {
      throw new AddrNotAvailable(`Cannot bind ${hostname}: not an address of this host`);
    }
    return { address, port };
  }

  #openLink(link: Link, index: number, name: string): void {
    this.#links.push(link);
    const { stack } = this;
    const sink: LinkSink = {
      receive: (slab: Slab, start: number, end: number, segmentBytes?: number): void => {
        const nowMs = this.#turns.arrival();
        if (this.#watch.on) this.#watch.receive(index, slab, start, end, nowMs, segmentBytes);
        else this.stack.receive(index, slab, start, end, nowMs, segmentBytes);
      },
      get full(): boolean {
        return stack.tcp.offerFull;
      },
      trains: this.#recorder === undefined, // a recording holds frames only
      flush: () => this.turn(),
      closed: (error) => this.#linkClosed(name, error),
    };
    // Where packets come one by one they are put together here; what is forwarded would have to be cut again.
    const merges = link.medium === "ip" && sink.trains && !this.#forwards && (link.trainBytesMax ?? 0) === 0;
    link.open(merges ? new SegmentMerger(sink) : sink);
  }

  /**
   * Takes a packet that a host with the same addresses has passed on; with `last`, nobody else is left to ask.
   * For shards (shard.ts).
   */
  receivePassed(interfaceIndex: number, packet: Uint8Array<ArrayBuffer>, last: boolean): void {
    if (this.#closed) return;
    this.stack.sharesAddresses = !last;
    this.stack.receive(interfaceIndex, new Slab(packet), 0, packet.length, this.#turns.arrival());
    this.stack.sharesAddresses = true;
    this.turn();
  }

  /**
   * Tells `watcher` of every frame that arrives or leaves, and of what becomes of it, until what this returns is called.
   */
  watchPackets(watcher: PacketWatcher): () => void {
    return this.#watch.add(watcher);
  }

  /** What the links have counted, by the index of their interfaces. */
  get linkCounters(): readonly Readonly<LinkCounters>[] {
    return this.#links.map(({ counters }) => counters);
  }

  #duplicateAddress(name: string, address: number): void {
    const text = this.stack.addresses.format(address);
    if (this.#onDuplicateAddress === undefined) {
      console.error(`Address ${text} is not used: somebody else on "${name}" has it`);
      return;
    }
    try {
      this.#onDuplicateAddress(name, text);
    } catch (mistake) {
      throwLater(mistake); // the packet at hand is not to blame
    }
  }

  #linkClosed(name: string, error: Error | undefined): void {
    if (this.#closed) return;
    if (this.#onLinkClosed === undefined) {
      if (error !== undefined) console.error(`Link "${name}" has ended:`, error);
      return;
    }
    try {
      this.#onLinkClosed(name, error);
    } catch (mistake) {
      throwLater(mistake); // the link has things to put away yet
    }
  }
}

/** An address that does not say whether it is to be probed, as its interface says. */
function probedByInterface(address: AddressSpec, interfaces: readonly HostInterface[]): AddressSpec {
  const { ipv6 } = interfaces[address.interface ?? 0] ?? {};
  const dad = address.dad ?? (typeof ipv6 === "object" && ipv6.dad && address.address.includes(":"));
  return dad === undefined || dad === address.dad ? address : { ...address, dad };
}

function stationAddress(text: string | undefined, entropy: Entropy): { hi: number; lo: number } {
  if (text !== undefined) {
    const mac = parseMac(text);
    if (mac === undefined) throw new TypeError(`"${text}" is not a station address like "52:54:00:12:34:56"`);
    return mac;
  }
  const bytes = new Uint8Array(6);
  entropy.fill(bytes);
  const view = new DataView(bytes.buffer);
  return { hi: (view.getUint16(0) & 0xfcff) | 0x0200, lo: view.getInt32(2) }; // locally administered, unicast
}
