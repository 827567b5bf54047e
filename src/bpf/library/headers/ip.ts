/**
 * Room `bpf`: the headers of IPv4 (RFC 791) and IPv6 (RFC 8200), with IPv6's extension headers. Addresses of IPv4 are numbers in
 * the host's order (203.0.113.9 is 0xcb007109); those of IPv6 four numbers, the first the most significant.
 *
 * A newcomer would get wrong: `Ipv4.size` is 20, but the header is `headerLength * 4` bytes long, and what follows an IPv6 header
 * may be any number of extension headers, each with its own length.
 */
import type { Value } from '../layout.ts';
import { be16, be32, u8 } from '../numbers.ts';
import { arrayOf as array, bits, namedStruct } from '../structs.ts';

/** 20 bytes, options not included. */
export type Ipv4 = Value<typeof Ipv4>;
export const Ipv4 = namedStruct('Ipv4', {
  /** In words of 4 bytes: 5 without options. */
  headerLength: bits(u8, 4),
  version: bits(u8, 4),
  /** DSCP (6 bits) and ECN (2). */
  typeOfService: u8,
  /** Bytes, this header included. */
  totalLength: be16,
  identification: be16,
  /** Reserved (1 bit), do not fragment (1), more fragments (1), offset in units of 8 bytes (13). */
  fragment: be16,
  timeToLive: u8,
  /** IPPROTO_*. */
  protocol: u8,
  checksum: be16,
  source: be32,
  destination: be32,
});

/** 40 bytes. */
export type Ipv6 = Value<typeof Ipv6>;
export const Ipv6 = namedStruct('Ipv6', {
  /** Version (4 bits), traffic class (8), flow label (20). */
  versionClassFlow: be32,
  /** Bytes behind this header. */
  payloadLength: be16,
  /** IPPROTO_*: an extension header, or what is carried. */
  nextHeader: u8,
  hopLimit: u8,
  source: array(be32, 4),
  destination: array(be32, 4),
});

/** The beginning of hop-by-hop options, destination options and routing headers: 8 bytes and `length * 8` more. */
export type Ipv6Extension = Value<typeof Ipv6Extension>;
export const Ipv6Extension = namedStruct('Ipv6Extension', {
  nextHeader: u8,
  /** In units of 8 bytes, without the first 8. */
  length: u8,
});

/** A routing header's beginning (RFC 8200 section 4.4). */
export type Ipv6Routing = Value<typeof Ipv6Routing>;
export const Ipv6Routing = namedStruct('Ipv6Routing', {
  nextHeader: u8,
  length: u8,
  routingType: u8,
  segmentsLeft: u8,
});

/** A segment routing header's beginning (RFC 8754); segments follow, 16 bytes each. */
export type Ipv6SegmentRouting = Value<typeof Ipv6SegmentRouting>;
export const Ipv6SegmentRouting = namedStruct('Ipv6SegmentRouting', {
  nextHeader: u8,
  length: u8,
  routingType: u8,
  segmentsLeft: u8,
  lastEntry: u8,
  flags: u8,
  tag: be16,
});

/** A fragment header: 8 bytes, always. */
export type Ipv6Fragment = Value<typeof Ipv6Fragment>;
export const Ipv6Fragment = namedStruct('Ipv6Fragment', {
  nextHeader: u8,
  reserved: u8,
  /** Offset in units of 8 bytes (13 bits), reserved (2), more fragments (1). */
  fragment: be16,
  identification: be32,
});

/** The beginning of an authentication header (RFC 4302): `(length + 2) * 4` bytes in all. */
export type IpAuthentication = Value<typeof IpAuthentication>;
export const IpAuthentication = namedStruct('IpAuthentication', {
  nextHeader: u8,
  length: u8,
  reserved: be16,
  securityParameters: be32,
  sequence: be32,
});

/** The beginning of an encapsulating security payload (RFC 4303). */
export type IpEncryption = Value<typeof IpEncryption>;
export const IpEncryption = namedStruct('IpEncryption', { securityParameters: be32, sequence: be32 });
