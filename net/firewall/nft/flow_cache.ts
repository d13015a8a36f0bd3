import { PROTOCOL_TCP, PROTOCOL_UDP } from "../../wire/ipv4.ts";
import { hashFactors } from "./decisions.ts";
import { KeyTable } from "./key_table.ts";
import { Nfproto, type NftPacket } from "./packet.ts";

/** Entries, of either family: of IPv4 256 KB, that stay in the processor's cache. */
const ENTRIES = 16_384;
/** Places that a flow may have: its own, where most are found, and its neighbours in a line of that cache. */
const WAYS = 4;
/** What packets of one flow may differ in: way, interfaces, mark. */
const CONTEXT_WORDS = 3;
/** Places among the hooks. */
const RUNS = 128;
/** Contexts that are told apart: the number of one has half of a word in an entry. With more, all is forgotten. */
const CONTEXTS_MAX = 0xffff;
/** After so many packets one looks how many were found, */
const WINDOW = 1_024;
/** and asks no more, for so many, where most were not. */
const PAUSE = 65_536;

/** Words of an entry: ports, addresses, and the numbers of context and decision in one. */
const FOUR_WORDS = 4;
const SIX_WORDS = 16; // of which it has 10

/**
 * Decisions that hold for all packets of a flow: on the same way, at the same place among the hooks, with the same state
 * and mark. So a packet of a flow that has been judged costs the same with any number of rules. Where there are more
 * flows at a time than places, to look for them costs more than it saves, and is left.
 */
export class FlowCache {
  readonly #seed: number;
  readonly #four = new Int32Array(ENTRIES * FOUR_WORDS);
  #six: Int32Array | undefined;
  #contexts!: KeyTable;
  /** By place: the context that was met there last, and its number. */
  readonly #last = new Int32Array(RUNS * (CONTEXT_WORDS + 1));
  #asked = 0;
  #found = 0;
  #pause = 0;
  #turn = 0;
  // The packet that was not found: its family's entries, its place, and its entry as far as it is known.
  #entries: Int32Array = this.#four;
  #place = 0;
  #words = FOUR_WORDS;
  readonly #entry = new Int32Array(SIX_WORDS);
  readonly #context = new Int32Array(CONTEXT_WORDS);
  readonly #ofPorts: number;
  readonly #ofContext: number;
  readonly #ofSource: number;
  readonly #ofDestination: number;
  readonly #factors: Int32Array;

  constructor(seed: number) {
    this.#seed = seed;
    this.#factors = hashFactors(seed, 12);
    this.#ofPorts = this.#factors[8]!;
    this.#ofContext = this.#factors[9]!;
    this.#ofSource = this.#factors[10]!;
    this.#ofDestination = this.#factors[11]!;
    this.clear();
  }

  clear(): void {
    this.#four.fill(0);
    this.#six?.fill(0);
    this.#contexts = new KeyTable(CONTEXT_WORDS, CONTEXTS_MAX, this.#seed);
    this.#last.fill(0);
  }

  /** Whether to look for a packet's flow: its ports are there, and those of others were found. */
  takes({ protocol, transport, end }: NftPacket): boolean {
    if (protocol !== PROTOCOL_TCP && protocol !== PROTOCOL_UDP) return false;
    if (this.#pause > 0) {
      this.#pause--;
      return false;
    }
    return transport >= 0 && transport + 4 <= end;
  }

  /**
   * Looks a packet up at the place `run` (1 to 127).
   * @returns The number of its flow's decision, or -1: it has to be found, and `keep` may write it down.
   */
  find(packet: NftPacket, run: number): number {
    const last = this.#last;
    const { slab: { view }, start, transport, protocol, nfproto, track } = packet;
    const way = run | (protocol << 7) | (track.state << 15) | (track.direction << 22) |
      (packet.packetType << 23);
    const through = (packet.iif << 16) | (packet.oif & 0xffff);
    const { mark } = packet;
    const place = run * (CONTEXT_WORDS + 1);
    const isLast = last[place] === way && last[place + 1] === through && last[place + 2] === mark;
    const context = isLast ? last[place + 3]! : this.#contextOf(way, through, mark, place);
    const ports = view.getInt32(transport);
    const found = nfproto === Nfproto.Ipv6
      ? this.#findSix(view, start, ports, context)
      : this.#findFour(ports, view.getInt32(start + 12), view.getInt32(start + 16), context);
    if (found >= 0) this.#found++;
    if (++this.#asked === WINDOW) {
      if (this.#found < WINDOW / 2) this.#pause = PAUSE;
      this.#asked = this.#found = 0;
    }
    return found;
  }

  #findFour(ports: number, source: number, destination: number, context: number): number {
    const table = this.#four;
    const hash = (((Math.imul(ports, this.#ofPorts) + Math.imul(context, this.#ofContext)) | 0) +
      ((Math.imul(source, this.#ofSource) + Math.imul(destination, this.#ofDestination)) | 0)) | 0;
    const place = hash ^ (hash >>> 15);
    for (let way = 0; way < WAYS; way++) {
      const each = ((place ^ way) & (ENTRIES - 1)) * FOUR_WORDS;
      if (table[each] !== source || table[each + 1] !== ports || table[each + 2] !== destination) continue;
      const numbers = table[each + 3]!;
      if (numbers >>> 16 === context) return numbers & 0xffff;
    }
    const entry = this.#entry;
    entry[0] = source;
    entry[1] = ports;
    entry[2] = destination;
    entry[3] = context << 16;
    this.#entries = table;
    this.#place = place;
    this.#words = FOUR_WORDS;
    return -1;
  }

  #findSix(view: DataView, start: number, ports: number, context: number): number {
    const table = this.#six ??= new Int32Array(ENTRIES * SIX_WORDS);
    const entry = this.#entry;
    let hash = (Math.imul(ports, this.#ofPorts) + Math.imul(context, this.#ofContext)) | 0;
    for (let word = 0; word < 8; word++) {
      const part = entry[word] = view.getInt32(start + 8 + word * 4);
      hash = (hash + Math.imul(part, this.#factors[word]!)) | 0;
    }
    const place = hash ^ (hash >>> 15);
    for (let way = 0; way < WAYS; way++) {
      const each = ((place ^ way) & (ENTRIES - 1)) * SIX_WORDS;
      const numbers = table[each + 9]!;
      if (numbers >>> 16 !== context || table[each + 8] !== ports) continue;
      let word = 0;
      while (word < 8 && table[each + word] === entry[word]) word++;
      if (word === 8) return numbers & 0xffff;
    }
    entry[8] = ports;
    entry[9] = context << 16;
    this.#entries = table;
    this.#place = place;
    this.#words = SIX_WORDS;
    return -1;
  }

  /** The number of a context, from 1 on. */
  #contextOf(way: number, through: number, mark: number, at: number): number {
    const context = this.#context;
    context[0] = way;
    context[1] = through;
    context[2] = mark;
    let number = this.#contexts.find(context, 0);
    if (number < 0) {
      if (this.#contexts.size >= CONTEXTS_MAX) this.clear();
      number = this.#contexts.add(context, 0);
    }
    this.#last.set(context, at);
    return this.#last[at + CONTEXT_WORDS] = number + 1;
  }

  /** The decision holds for the flow that `find` did not find. */
  keep(decision: number): void {
    const words = this.#words;
    const table = this.#entries;
    const numbers = words === FOUR_WORDS ? 3 : 9;
    let way = 0;
    let at = this.#way(0);
    while (way < WAYS && table[at + numbers] !== 0) at = this.#way(++way);
    if (way === WAYS) at = this.#way(this.#turn = (this.#turn + 1) % WAYS);
    for (let word = 0; word < numbers; word++) table[at + word] = this.#entry[word]!;
    table[at + numbers] = this.#entry[numbers]! | decision;
  }

  /** One of the places of the flow that was not found. */
  #way(way: number): number {
    return ((this.#place ^ way) & (ENTRIES - 1)) * this.#words;
  }
}
