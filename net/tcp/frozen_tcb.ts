/** Time to a deadline in whole milliseconds, negative when it is past; `null` when it is not set. */
export type FrozenDeadline = number | null;

/**
 * Everything that a TCB is, as a tuple of CBOR-ready values. IPv4 addresses and sequence numbers are
 * uint32, IPv6 addresses 16 bytes, positions near another one are distances from it, deadlines are milliseconds after
 * `frozenAtMs` (epoch). What every connection has comes first, then what an idle one leaves at its default
 * (`frozenTcbDefaults`). A place means the same for ever: new ones go to the end.
 */
export type FrozenTcb = [
  frozenAtMs: number,
  localAddress: number | Uint8Array,
  remoteAddress: number | Uint8Array,
  localPort: number,
  remotePort: number,
  state: number,
  flags: number,
  sndUna: number,
  issBehind: number,
  sndWnd: number,
  sndWndMaxAbove: number,
  sndWl1Behind: number,
  sndWl2Behind: number,
  sndShift: number,
  peerMss: number,
  sndMssBelow: number,
  rcvNxt: number,
  irsBehind: number,
  rcvAdvOffset: number,
  rcvShift: number,
  tsOffset: number,
  tsRecent: number,
  tsRecentAgeMs: number,
  srttUs: number,
  rttvarUs: number,
  rtoMs: number,
  cwnd: number,
  quickAcks: number,
  idleMs: number,
  bytesIn: number,
  bytesOut: number,
  ssthresh: number,
  cwndBytesAcked: number,
  recoverAfterIss: number,
  retransmittedSegments: number,
  keepAliveIn: FrozenDeadline,
  keepAlives: number,
  keepAliveIdleMs: number,
  keepAliveIntervalMs: number,
  keepAliveProbes: number,
  userTimeoutMs: number,
  sendBufferBytes: number,
  receiveBufferBytes: number,
  typeOfService: number,
  timeToLive: number,
  softError: number,
  delayedAckIn: FrozenDeadline,
  lastAckSentBehind: number,
  sentAgoMs: number | null,
  sndNxtOffset: number,
  sndMaxOffset: number,
  retransmitIn: FrozenDeadline,
  retransmits: number,
  stuckForMs: number,
  backoff: number,
  dupAcks: number,
  recovery: number,
  rttSeqOffset: number,
  rttAgeMs: number,
  persistIn: FrozenDeadline,
  persists: number,
  probesUnanswered: number,
  expireIn: FrozenDeadline,
  finAheadOffset: number,
  sendQueue: Uint8Array,
  receiveQueue: Uint8Array,
  ahead: [offset: number, bytes: Uint8Array][],
  congestionState: number[],
  bufferState: number[],
  counters: number[],
  options: number[],
  persistForMs: number,
  urgentState: number[],
  recoveryState: number[],
  sent: number[],
  fastOpen: number,
  ecnState: number[],
  mtuState: number[],
  userTimeoutState: number[],
  tooBigState: number[],
  protocolState: number[],
  lent: Uint8Array,
];

const NAMES_ALWAYS = [
  "frozenAtMs localAddress remoteAddress localPort remotePort state flags sndUna issBehind sndWnd",
  "sndWndMaxAbove sndWl1Behind sndWl2Behind sndShift peerMss sndMssBelow rcvNxt irsBehind rcvAdvOffset",
  "rcvShift tsOffset tsRecent tsRecentAgeMs srttUs rttvarUs rtoMs cwnd quickAcks idleMs bytesIn bytesOut",
].join(" ").split(" ");

/** What stands for a buffer's size that no application has set: `bufferState` tells it. */
export const UNSET_BUFFER_BYTES: number = 1 << 20;

const EMPTY = new Uint8Array(0);

/**
 * The tuple's later places and what they mean when they are left out: constants of the format, whatever
 * today's configuration says.
 */
const DEFAULTS: readonly (readonly [name: string, value: number | null | Uint8Array | []])[] = [
  ["ssthresh", 0x7fff_ffff],
  ["cwndBytesAcked", 0],
  ["recoverAfterIss", 1],
  ["retransmittedSegments", 0],
  ["keepAliveIn", null],
  ["keepAlives", 0],
  ["keepAliveIdleMs", 7_200_000],
  ["keepAliveIntervalMs", 75_000],
  ["keepAliveProbes", 9],
  ["userTimeoutMs", 0],
  ["sendBufferBytes", UNSET_BUFFER_BYTES],
  ["receiveBufferBytes", UNSET_BUFFER_BYTES],
  ["typeOfService", 0],
  ["timeToLive", 64],
  ["softError", 0],
  ["delayedAckIn", null],
  ["lastAckSentBehind", 0],
  ["sentAgoMs", null],
  ["sndNxtOffset", 0],
  ["sndMaxOffset", 0],
  ["retransmitIn", null],
  ["retransmits", 0],
  ["stuckForMs", 0],
  ["backoff", 0],
  ["dupAcks", 0],
  ["recovery", 0],
  ["rttSeqOffset", 0],
  ["rttAgeMs", 0],
  ["persistIn", null],
  ["persists", 0],
  ["probesUnanswered", 0],
  ["expireIn", null],
  ["finAheadOffset", 0],
  ["sendQueue", EMPTY],
  ["receiveQueue", EMPTY],
  ["ahead", []],
  ["congestionState", []],
  ["bufferState", []],
  ["counters", []],
  ["options", []],
  ["persistForMs", 0],
  ["urgentState", []],
  ["recoveryState", []],
  ["sent", []],
  ["fastOpen", 0],
  ["ecnState", []],
  ["mtuState", []],
  ["userTimeoutState", []],
  ["tooBigState", []],
  ["protocolState", []],
  ["lent", EMPTY],
];

/** The tuple's places by name, for whoever prints an image. */
export const frozenTcbFields: readonly string[] = [...NAMES_ALWAYS, ...DEFAULTS.map(([name]) => name)];

/** How many places the tuple has. */
export const FROZEN_PLACES: number = frozenTcbFields.length;

const place = (name: string): number => frozenTcbFields.indexOf(name);
/** Places that hold no number. */
export const FrozenPlace = {
  localAddress: place("localAddress"),
  remoteAddress: place("remoteAddress"),
  sendQueue: place("sendQueue"),
  receiveQueue: place("receiveQueue"),
  ahead: place("ahead"),
  congestionState: place("congestionState"),
  bufferState: place("bufferState"),
  counters: place("counters"),
  options: place("options"),
  urgentState: place("urgentState"),
  recoveryState: place("recoveryState"),
  sent: place("sent"),
  ecnState: place("ecnState"),
  mtuState: place("mtuState"),
  userTimeoutState: place("userTimeoutState"),
  tooBigState: place("tooBigState"),
  protocolState: place("protocolState"),
  lent: place("lent"),
};

/** How many of the tuple's places have no default. */
export const FROZEN_TCB_ALWAYS: number = NAMES_ALWAYS.length;

/** What the places from `FROZEN_TCB_ALWAYS` on hold when they are left out. */
export const frozenTcbDefaults: readonly unknown[] = DEFAULTS.map(([, value]) => value);

/** Whether what stands at `place`, from `FROZEN_TCB_ALWAYS` on, is the default, and need not be kept. */
export function isFrozenTcbDefault(frozen: FrozenTcb, place: number): boolean {
  const value = frozen[place];
  return typeof value === "object" && value !== null
    ? value.length === 0 // bytes or runs
    : value === frozenTcbDefaults[place - FROZEN_TCB_ALWAYS];
}

/** Bits of `flags`. */
export const FrozenFlag = {
  finQueued: 1,
  finReceived: 2,
  finPending: 4,
  timestamps: 8,
  rttTiming: 16,
  ackNow: 32,
  noDelay: 64,
  keepAlive: 128,
  orphan: 256,
  wantsWritable: 512,
  wantsDrained: 1024,
  cwndLimited: 2048,
  sackPermitted: 4096,
  interactive: 8192,
  fullSegmentProven: 16384,
  durable: 32768,
} as const;
