/** Where servers and clients listen (RFC 2131 section 4.1). */
export const DHCP_SERVER_PORT = 67;
export const DHCP_CLIENT_PORT = 68;

/** Message types (RFC 2132 section 9.6). */
export const DhcpType = {
  Discover: 1,
  Offer: 2,
  Request: 3,
  Decline: 4,
  Ack: 5,
  Nak: 6,
  Release: 7,
} as const;
export type DhcpType = (typeof DhcpType)[keyof typeof DhcpType];

/** Options that we send or understand (RFC 2132, RFC 3442). */
export const DhcpOption = {
  SubnetMask: 1,
  Router: 3,
  DomainNameServer: 6,
  HostName: 12,
  DomainName: 15,
  InterfaceMtu: 26,
  RequestedAddress: 50,
  LeaseTime: 51,
  Overload: 52,
  MessageType: 53,
  ServerIdentifier: 54,
  ParameterList: 55,
  Message: 56,
  MaximumSize: 57,
  RenewalTime: 58,
  RebindingTime: 59,
  ClientIdentifier: 61,
  ClasslessRoutes: 121,
} as const;

/** A message as both sides read it. Addresses are int32. */
export interface DhcpMessage {
  readonly type: DhcpType;
  readonly transaction: number;
  /** Seconds since the client began. */
  readonly seconds: number;
  /** Whether answers shall be broadcast, as the client cannot hear others yet. */
  readonly broadcast: boolean;
  /** The client's address, when it has one and answers for it. */
  readonly clientAddress: number;
  /** The address that the server gives. */
  readonly yourAddress: number;
  /** Six bytes; of another length when the client is no Ethernet station. */
  readonly hardwareAddress: Uint8Array;
  /** By number, without `MessageType`; parts of one option are joined (RFC 3396). */
  readonly options: ReadonlyMap<number, Uint8Array>;
}

const AT = {
  operation: 0,
  hardwareType: 1,
  hardwareLength: 2,
  transaction: 4,
  seconds: 8,
  flags: 10,
  clientAddress: 12,
  yourAddress: 16,
  hardwareAddress: 28,
  serverName: 44,
  file: 108,
  cookie: 236,
  options: 240,
} as const;
const COOKIE = 0x6382_5363;
const BROADCAST = 0x8000;
const HARDWARE_ETHERNET = 1;
const HARDWARE_LENGTH_MAX = 16;
const OPTION_PAD = 0;
const OPTION_END = 255;
/** BOOTP's length (RFC 1542 section 2.1): old relays drop what is shorter. */
const LENGTH_MIN = 300;

/** The bytes of a message, from the operation to the padding. */
export function writeDhcp(message: DhcpMessage, fromServer = false): Uint8Array<ArrayBuffer> {
  const options: number[] = [DhcpOption.MessageType, 1, message.type];
  for (const [code, value] of message.options) {
    for (let at = 0; at === 0 || at < value.length; at += 255) {
      const part = value.subarray(at, at + 255);
      options.push(code, part.length, ...part);
    }
  }
  options.push(OPTION_END);
  const bytes = new Uint8Array(Math.max(LENGTH_MIN, AT.options + options.length));
  const view = new DataView(bytes.buffer);
  bytes[AT.operation] = fromServer ? 2 : 1;
  bytes[AT.hardwareType] = HARDWARE_ETHERNET;
  bytes[AT.hardwareLength] = message.hardwareAddress.length;
  view.setInt32(AT.transaction, message.transaction);
  view.setUint16(AT.seconds, Math.min(0xffff, message.seconds));
  view.setUint16(AT.flags, message.broadcast ? BROADCAST : 0);
  view.setInt32(AT.clientAddress, message.clientAddress);
  view.setInt32(AT.yourAddress, message.yourAddress);
  bytes.set(message.hardwareAddress, AT.hardwareAddress);
  view.setUint32(AT.cookie, COOKIE);
  bytes.set(options, AT.options);
  return bytes;
}

/** The message in `bytes`, or `undefined` when it is none, or from the wrong side. */
export function readDhcp(bytes: Uint8Array, fromServer = true): DhcpMessage | undefined {
  if (bytes.length < AT.options) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes[AT.operation] !== (fromServer ? 2 : 1) || view.getUint32(AT.cookie) !== COOKIE) return undefined;
  const hardwareLength = bytes[AT.hardwareLength]!;
  if (hardwareLength > HARDWARE_LENGTH_MAX) return undefined;
  const options = new Map<number, Uint8Array>();
  if (!readOptions(bytes.subarray(AT.options), options)) return undefined;
  // RFC 2132 section 9.3: more of them where a name would stand; the file's field comes first.
  const overload = options.get(DhcpOption.Overload)?.[0] ?? 0;
  if ((overload & 1) !== 0 && !readOptions(bytes.subarray(AT.file, AT.cookie), options)) return undefined;
  if ((overload & 2) !== 0 && !readOptions(bytes.subarray(AT.serverName, AT.file), options)) return undefined;
  const type = options.get(DhcpOption.MessageType);
  if (type?.length !== 1 || type[0]! < DhcpType.Discover || type[0]! > DhcpType.Release) return undefined;
  options.delete(DhcpOption.MessageType);
  return {
    type: type[0] as DhcpType,
    transaction: view.getInt32(AT.transaction),
    seconds: view.getUint16(AT.seconds),
    broadcast: (view.getUint16(AT.flags) & BROADCAST) !== 0,
    clientAddress: view.getInt32(AT.clientAddress),
    yourAddress: view.getInt32(AT.yourAddress),
    hardwareAddress: bytes.slice(AT.hardwareAddress, AT.hardwareAddress + hardwareLength),
    options,
  };
}

function readOptions(field: Uint8Array, into: Map<number, Uint8Array>): boolean {
  for (let at = 0; at < field.length;) {
    const code = field[at++]!;
    if (code === OPTION_END) return true;
    if (code === OPTION_PAD) continue;
    const length = field[at++];
    if (length === undefined || at + length > field.length) return false;
    const before = into.get(code) ?? new Uint8Array(0);
    const value = new Uint8Array(before.length + length);
    value.set(before);
    value.set(field.subarray(at, at + length), before.length);
    into.set(code, value);
    at += length;
  }
  return true; // without an end, as some servers write it
}
