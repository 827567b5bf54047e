/**
 * Structs that several of the suite's programs use, and constants that they have in common.
 */
import { array, be16, be32, struct, u16, u32, u64, type Value } from '../../../src/bpf/library/index.ts';

export const FRAGMENT_OFFSET = 0x1fff;
export const MORE_FRAGMENTS = 0x2000;

export const Counters = struct({ packets: u64, bytes: u64 });
export type Counters = Value<typeof Counters>;

/** The first four bytes of TCP and UDP alike. */
export const Ports = struct({ source: be16, destination: be16 });

/** An IPv4 header without options as the words that its checksum is of, in the order in which they lie. */
export const HeaderWords = struct({ words: array(u16, 10) });

export const Prefix4 = struct({ bits: u32, address: be32 });
export const Prefix6 = struct({ bits: u32, address: array(be32, 4) });
