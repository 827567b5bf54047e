/**
 * Room `bpf`: the headers of tunnels: GRE (RFC 2784), VXLAN (RFC 7348), Geneve (RFC 8926), GTP-U, PPPoE (RFC 2516).
 *
 * A newcomer would get wrong: a VXLAN or Geneve network identifier has 24 bits and shares its 4 bytes with a reserved one:
 * `vxlan.identifier >>> 8`.
 */
import type { Value } from '../layout.ts';
import { be16, be32, u8 } from '../numbers.ts';
import { bits, namedStruct } from '../structs.ts';

/** 4 bytes; checksum, key and sequence follow where their flags are set (GRE_CSUM, GRE_KEY, GRE_SEQ). */
export type Gre = Value<typeof Gre>;
export const Gre = namedStruct('Gre', { flags: be16, protocol: be16 });

/** 8 bytes behind UDP, destination port 4789; Ethernet follows. */
export type Vxlan = Value<typeof Vxlan>;
export const Vxlan = namedStruct('Vxlan', {
  /** 0x08000000: the identifier is valid. */
  flags: be32,
  /** Identifier (24 bits), reserved (8). */
  identifier: be32,
});

/** 8 bytes behind UDP, destination port 6081; `optionsLength * 4` bytes of options follow. */
export type Geneve = Value<typeof Geneve>;
export const Geneve = namedStruct('Geneve', {
  /** In words of 4 bytes. */
  optionsLength: bits(u8, 6),
  version: bits(u8, 2),
  reserved: bits(u8, 6),
  critical: bits(u8, 1),
  control: bits(u8, 1),
  protocol: be16,
  /** Identifier (24 bits), reserved (8). */
  identifier: be32,
});

/** 8 bytes behind UDP, destination port 2152 (3GPP TS 29.281). */
export type Gtp = Value<typeof Gtp>;
export const Gtp = namedStruct('Gtp', {
  flags: u8,
  messageType: u8,
  length: be16,
  tunnel: be32,
});

/** 6 bytes behind Ethernet with protocol ETH_P_PPP_SES; PPP's protocol follows, 2 bytes. */
export type Pppoe = Value<typeof Pppoe>;
export const Pppoe = namedStruct('Pppoe', {
  type: bits(u8, 4),
  version: bits(u8, 4),
  code: u8,
  session: be16,
  length: be16,
});
