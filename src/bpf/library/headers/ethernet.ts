/**
 * Room `bpf`: link-layer headers: Ethernet, VLAN tags, MPLS, ARP. Field names are spelled out; where the kernel has a struct for a
 * header, a test compares the two byte by byte.
 *
 * A newcomer would get wrong: a VLAN tag stands between the addresses and the protocol. `Vlan` is what follows an Ethernet header
 * whose `protocol` is ETH_P_8021Q or ETH_P_8021AD: 2 bytes of tag, then the protocol of what comes next.
 */
import type { Value } from '../layout.ts';
import { be16, be32, u8 } from '../numbers.ts';
import { arrayOf as array, namedStruct, packedStruct } from '../structs.ts';

/** 14 bytes: addresses and an ETH_P_*. */
export type Ethernet = Value<typeof Ethernet>;
export const Ethernet = namedStruct('Ethernet', {
  destination: array(u8, 6),
  source: array(u8, 6),
  /** ETH_P_*; below 0x600 a length (IEEE 802.3). */
  protocol: be16,
});

/** 4 bytes behind an Ethernet header or another tag (IEEE 802.1Q). */
export type Vlan = Value<typeof Vlan>;
export const Vlan = namedStruct('Vlan', {
  /** Priority (3 bits), drop eligible (1), identifier (12): `vlan.control & 0xfff`. */
  control: be16,
  protocol: be16,
});

/** 4 bytes: label (20 bits), traffic class (3), bottom of stack (1), time to live (8); RFC 3032. */
export type Mpls = Value<typeof Mpls>;
export const Mpls = namedStruct('Mpls', { entry: be32 });

/** 28 bytes: ARP for IPv4 over Ethernet (RFC 826). */
export type Arp = Value<typeof Arp>;
export const Arp = packedStruct('Arp', {
  hardware: be16,
  protocol: be16,
  hardwareSize: u8,
  protocolSize: u8,
  /** 1 asks, 2 answers. */
  operation: be16,
  senderHardware: array(u8, 6),
  sender: be32,
  targetHardware: array(u8, 6),
  target: be32,
});
