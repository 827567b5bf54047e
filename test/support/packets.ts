/**
 * Test support: makes packets, from the inside out: `ethernet({…}, ipv4({…}, tcp({…}, payload)))`. Each layer is bytes.
 *
 * A newcomer would get wrong: TCP's, UDP's and ICMPv6's checksums cover addresses of the layer around them (RFC 9293 section 3.1,
 * RFC 8200 section 8.1). So it is `ipv4` and `ipv6` that put them in, where the layer inside left 0; a value that a test gives
 * itself stays.
 */

export const PROTOCOL = { icmp: 1, ipip: 4, tcp: 6, udp: 17, ipv6: 41, gre: 47, icmp6: 58 } as const;
export const ETHERTYPE = { ipv4: 0x0800, arp: 0x0806, vlan: 0x8100, qinq: 0x88a8, ipv6: 0x86dd, teb: 0x6558 } as const;
export const TCP_FLAG = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16, urg: 32 } as const;

const nothing = new Uint8Array(0);

/** Bytes of numbers and of other bytes, one after another. */
export function bytes(...parts: readonly (number | Uint8Array | readonly number[])[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => (typeof part === 'number' ? [part] : [...part])));
}

/** 16 bits in network byte order. */
export const word = (value: number): number[] => [(value >> 8) & 255, value & 255];
/** 32 bits in network byte order. */
export const long = (value: number): number[] => [...word(value >>> 16), ...word(value)];

/** `192.0.2.1` as four bytes. */
export function address4(text: string): Uint8Array {
  const parts = text.split('.').map(Number);
  if (parts.length !== 4 || parts.some((part) => !(part >= 0 && part <= 255))) throw new Error(`${text} is no address`);
  return Uint8Array.from(parts);
}

/** `2001:db8::1` as sixteen bytes. Without the forms that end in dots. */
export function address6(text: string): Uint8Array {
  const [front, back] = text.split('::');
  const groupsOf = (part: string | undefined) =>
    part ? part.split(':').map((group) => Number.parseInt(group, 16)) : [];
  const [first, last] = [groupsOf(front), groupsOf(back)];
  const missing = 8 - first.length - last.length;
  if (back === undefined ? missing !== 0 : missing < 1) throw new Error(`${text} is no address`);
  return bytes(...[...first, ...new Array<number>(missing).fill(0), ...last].map(word));
}

/** `02:00:00:00:00:01` as six bytes. */
export const mac = (text: string): Uint8Array => Uint8Array.from(text.split(':'), (part) => Number.parseInt(part, 16));

/** The ones' complement sum of 16-bit words, not yet complemented (RFC 1071). */
export function sum(data: Uint8Array, start = 0): number {
  let total = start;
  for (let at = 0; at < data.length; at += 2) total += (data[at] << 8) | (data[at + 1] ?? 0);
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return total;
}

/** The Internet checksum. */
export const checksum = (data: Uint8Array, start = 0): number => ~sum(data, start) & 0xffff;

export interface EthernetOptions {
  readonly destination?: Uint8Array;
  readonly source?: Uint8Array;
  readonly type: number;
  /** Tags from the outermost inwards. */
  readonly tags?: readonly { readonly type?: number; readonly id: number; readonly priority?: number }[];
}

export function ethernet(options: EthernetOptions, payload: Uint8Array = nothing): Uint8Array {
  const { destination = mac('02:00:00:00:00:01'), source = mac('02:00:00:00:00:02'), type, tags = [] } = options;
  const tagged = tags.map(({ type: outer = ETHERTYPE.vlan, id, priority = 0 }) =>
    bytes(word(outer), word((priority << 13) | id)),
  );
  return bytes(destination, source, ...tagged, word(type), payload);
}

export interface Ipv4Options {
  readonly source?: string;
  readonly destination?: string;
  readonly protocol: number;
  readonly ttl?: number;
  /** The former type of service: six bits of DSCP, two of ECN. */
  readonly service?: number;
  readonly identification?: number;
  /** In units of 8 bytes. */
  readonly fragmentOffset?: number;
  readonly moreFragments?: boolean;
  readonly doNotFragment?: boolean;
  readonly options?: Uint8Array;
  /** In place of the true one. */
  readonly checksum?: number;
}

/** Where the checksum stands in a layer 4 header that is covered by a pseudo header (ICMP's is not). */
const checksumAt: Readonly<Record<number, number>> = { [PROTOCOL.tcp]: 16, [PROTOCOL.udp]: 6, [PROTOCOL.icmp6]: 2 };

function withChecksum(protocol: number, payload: Uint8Array, pseudo: Uint8Array): Uint8Array {
  const at = checksumAt[protocol];
  if (at === undefined || payload.length < at + 2 || payload[at] !== 0 || payload[at + 1] !== 0) return payload;
  const filled = payload.slice();
  // RFC 768: a UDP checksum of 0 means none, so a true 0 is sent as 0xffff.
  filled.set(word(checksum(payload, sum(pseudo)) || 0xffff), at);
  return filled;
}

export function ipv4(options: Ipv4Options, payload: Uint8Array = nothing): Uint8Array {
  const { protocol, ttl = 64, service = 0, identification = 0x1234, fragmentOffset = 0 } = options;
  const source = address4(options.source ?? '192.0.2.1');
  const destination = address4(options.destination ?? '192.0.2.2');
  const extra = options.options ?? nothing;
  if (extra.length % 4 !== 0 || extra.length > 40) throw new Error(`${extra.length} bytes of IPv4 options`);
  const headerBytes = 20 + extra.length;
  const fragment = (options.doNotFragment ? 0x4000 : 0) | (options.moreFragments ? 0x2000 : 0) | fragmentOffset;
  const header = bytes(
    0x40 | (headerBytes / 4),
    service,
    word(headerBytes + payload.length),
    word(identification),
    word(fragment),
    ttl,
    protocol,
    word(0),
    source,
    destination,
    extra,
  );
  header.set(word(options.checksum ?? checksum(header)), 10);
  const pseudo = bytes(source, destination, 0, protocol, word(payload.length));
  return bytes(header, fragmentOffset === 0 ? withChecksum(protocol, payload, pseudo) : payload);
}

export type Extension =
  /** Hop-by-hop (0), routing (43) or destination options (60): `data` is padded to a multiple of 8 bytes with its two first. */
  | { readonly kind: 'options'; readonly type: 0 | 43 | 60; readonly data?: Uint8Array }
  /** In units of 8 bytes. */
  | { readonly kind: 'fragment'; readonly offset?: number; readonly more?: boolean; readonly id?: number }
  | { readonly kind: 'authentication'; readonly data?: Uint8Array };

export interface Ipv6Options {
  readonly source?: string;
  readonly destination?: string;
  readonly protocol: number;
  readonly hopLimit?: number;
  readonly trafficClass?: number;
  readonly flowLabel?: number;
  readonly extensions?: readonly Extension[];
}

const padded = (data: Uint8Array, to: number): Uint8Array =>
  bytes(data, new Uint8Array((to - (data.length % to)) % to));

function extensionType(extension: Extension): number {
  if (extension.kind === 'options') return extension.type;
  return extension.kind === 'fragment' ? 44 : 51;
}

function extensionBytes(extension: Extension, next: number): Uint8Array {
  switch (extension.kind) {
    case 'options': {
      const body = padded(bytes(0, 0, extension.data ?? new Uint8Array(6)), 8);
      body.set([next, body.length / 8 - 1]);
      return body;
    }
    case 'fragment': {
      const { offset = 0, more = false, id = 1 } = extension;
      return bytes(next, 0, word((offset << 3) | (more ? 1 : 0)), long(id));
    }
    case 'authentication': {
      // RFC 4302 section 2.2: its length counts words of 4 bytes, less 2.
      const body = padded(bytes(0, 0, 0, 0, long(1), long(1), extension.data ?? new Uint8Array(12)), 4);
      body.set([next, body.length / 4 - 2]);
      return body;
    }
  }
}

export function ipv6(options: Ipv6Options, payload: Uint8Array = nothing): Uint8Array {
  const { protocol, hopLimit = 64, trafficClass = 0, flowLabel = 0, extensions = [] } = options;
  const source = address6(options.source ?? '2001:db8::1');
  const destination = address6(options.destination ?? '2001:db8::2');
  const pseudo = bytes(source, destination, long(payload.length), 0, 0, 0, protocol);
  let inner = withChecksum(protocol, payload, pseudo);
  let next = protocol;
  for (const extension of [...extensions].reverse()) {
    inner = bytes(extensionBytes(extension, next), inner);
    next = extensionType(extension);
  }
  const first = (6 * 0x10000000 + trafficClass * 0x100000 + flowLabel) >>> 0;
  return bytes(long(first), word(inner.length), next, hopLimit, source, destination, inner);
}

export interface TcpOptions {
  readonly source?: number;
  readonly destination?: number;
  readonly sequence?: number;
  readonly acknowledgement?: number;
  readonly flags?: number;
  readonly window?: number;
  /** Padded with End of Option List. */
  readonly options?: Uint8Array;
  readonly urgent?: number;
}

/** TCP options as they stand on the wire (RFC 9293 section 3.2, RFC 7323, RFC 2018). */
export const tcpOption = {
  nothing: bytes(1),
  maximumSegmentSize: (size: number): Uint8Array => bytes(2, 4, word(size)),
  windowScale: (shift: number): Uint8Array => bytes(3, 3, shift),
  selectiveAllowed: bytes(4, 2),
  selective: (blocks: readonly (readonly [number, number])[]): Uint8Array =>
    bytes(5, 2 + 8 * blocks.length, ...blocks.flat().map(long)),
  timestamps: (value: number, echo: number): Uint8Array => bytes(8, 10, long(value), long(echo)),
} as const;

export function tcp(options: TcpOptions = {}, payload: Uint8Array = nothing): Uint8Array {
  const { source = 40000, destination = 80, sequence = 1000, acknowledgement = 0, flags = TCP_FLAG.syn } = options;
  const extra = padded(options.options ?? nothing, 4);
  if (extra.length > 40) throw new Error(`${extra.length} bytes of TCP options`);
  return bytes(
    word(source),
    word(destination),
    long(sequence),
    long(acknowledgement),
    (5 + extra.length / 4) << 4,
    flags,
    word(options.window ?? 65535),
    word(0),
    word(options.urgent ?? 0),
    extra,
    payload,
  );
}

export interface UdpOptions {
  readonly source?: number;
  readonly destination?: number;
}

export function udp(options: UdpOptions = {}, payload: Uint8Array = nothing): Uint8Array {
  const { source = 40000, destination = 53 } = options;
  return bytes(word(source), word(destination), word(8 + payload.length), word(0), payload);
}

export interface IcmpOptions {
  readonly type?: number;
  readonly code?: number;
  readonly identifier?: number;
  readonly sequence?: number;
}

/** An ICMP message with its checksum; an echo request unless told. */
export function icmp(options: IcmpOptions = {}, payload: Uint8Array = nothing): Uint8Array {
  const { type = 8, code = 0, identifier = 1, sequence = 1 } = options;
  const message = bytes(type, code, 0, 0, word(identifier), word(sequence), payload);
  message.set(word(checksum(message)), 2);
  return message;
}

/** An ICMPv6 message, whose checksum {@link ipv6} adds; an echo request unless told. */
export function icmp6(options: IcmpOptions = {}, payload: Uint8Array = nothing): Uint8Array {
  const { type = 128, code = 0, identifier = 1, sequence = 1 } = options;
  return bytes(type, code, 0, 0, word(identifier), word(sequence), payload);
}

export interface ArpOptions {
  readonly operation?: number;
  readonly senderMac?: Uint8Array;
  readonly sender?: string;
  readonly targetMac?: Uint8Array;
  readonly target?: string;
}

/** ARP for IPv4 over Ethernet (RFC 826); a request unless told. */
export function arp(options: ArpOptions = {}): Uint8Array {
  const { operation = 1, senderMac = mac('02:00:00:00:00:02'), targetMac = new Uint8Array(6) } = options;
  const sender = address4(options.sender ?? '192.0.2.1');
  return bytes(
    word(1),
    word(0x0800),
    6,
    4,
    word(operation),
    senderMac,
    sender,
    targetMac,
    address4(options.target ?? '192.0.2.2'),
  );
}

/** A GRE header (RFC 2784, RFC 2890) and what it carries. */
export function gre(
  options: { readonly type: number; readonly key?: number; readonly sequence?: number; readonly checksum?: boolean },
  payload: Uint8Array,
): Uint8Array {
  const { type, key, sequence } = options;
  const flags =
    (options.checksum ? 0x8000 : 0) | (key === undefined ? 0 : 0x2000) | (sequence === undefined ? 0 : 0x1000);
  const fields = [...(key === undefined ? [] : long(key)), ...(sequence === undefined ? [] : long(sequence))];
  if (!options.checksum) return bytes(word(flags), word(type), fields, payload);
  const whole = bytes(word(flags), word(type), long(0), fields, payload);
  whole.set(word(checksum(whole)), 4);
  return whole;
}

/** A VXLAN header (RFC 7348) and the frame that it carries; goes into UDP to port 4789. */
export const vxlan = (network: number, frame: Uint8Array): Uint8Array => bytes(8, 0, 0, 0, long(network << 8), frame);

/** A DNS query (RFC 1035 section 4.1) for one name. */
export function dnsQuery(name: string, type = 1, id = 0x4242): Uint8Array {
  const labels = name.split('.').filter((label) => label !== '');
  const encoded = labels.map((label) => bytes(label.length, new TextEncoder().encode(label)));
  return bytes(word(id), word(0x0100), word(1), word(0), word(0), word(0), ...encoded, 0, word(type), word(1));
}
