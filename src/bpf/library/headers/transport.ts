/**
 * Room `bpf`: the headers of TCP (RFC 9293), UDP (RFC 768), SCTP (RFC 9260) and ICMP (RFC 792, RFC 4443).
 *
 * A newcomer would get wrong: TCP's flags are bit fields of one byte each in the order in which they lie in memory, least
 * significant first. `flags` is all eight at once, to be tested with TCPHDR_*.
 */
import type { Value } from '../layout.ts';
import { be16, be32, u8 } from '../numbers.ts';
import { bits, namedStruct, overlaidStruct } from '../structs.ts';

/** 20 bytes, options not included: those end at `dataOffset * 4`. */
export type Tcp = Value<typeof Tcp>;
export const Tcp = overlaidStruct(
  'Tcp',
  {
    source: be16,
    destination: be16,
    sequence: be32,
    acknowledgement: be32,
    reserved: bits(u8, 4),
    /** In words of 4 bytes: 5 without options. */
    dataOffset: bits(u8, 4),
    fin: bits(u8, 1),
    /** All eight of them. */
    flags: u8,
    syn: bits(u8, 1),
    rst: bits(u8, 1),
    psh: bits(u8, 1),
    ack: bits(u8, 1),
    urg: bits(u8, 1),
    ece: bits(u8, 1),
    cwr: bits(u8, 1),
    window: be16,
    checksum: be16,
    urgentPointer: be16,
  },
  { flags: 'fin' },
);

/** 8 bytes. */
export type Udp = Value<typeof Udp>;
export const Udp = namedStruct('Udp', {
  source: be16,
  destination: be16,
  /** Bytes, this header included. */
  length: be16,
  /** 0 for none (IPv4 only). */
  checksum: be16,
});

/** 12 bytes; chunks follow. */
export type Sctp = Value<typeof Sctp>;
export const Sctp = namedStruct('Sctp', {
  source: be16,
  destination: be16,
  verificationTag: be32,
  checksum: be32,
});

/** 8 bytes: ICMP of IPv4, as echo messages have it. */
export type Icmp = Value<typeof Icmp>;
export const Icmp = namedStruct('Icmp', { type: u8, code: u8, checksum: be16, identifier: be16, sequence: be16 });

/** 8 bytes: ICMPv6, as echo messages have it. */
export type Icmp6 = Value<typeof Icmp6>;
export const Icmp6 = namedStruct('Icmp6', { type: u8, code: u8, checksum: be16, identifier: be16, sequence: be16 });
