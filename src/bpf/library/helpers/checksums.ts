/**
 * Room `bpf`: helpers of Internet checksums and of SYN cookies.
 *
 * A newcomer would get wrong: checksums are sums of what lies in memory. `bpf_l3_csum_replace` wants the old and the new value as
 * they lie there, in network order; what a header's field gives is in the host's order, so pass `swap16(…)` or `swap32(…)` of it.
 */
import type { AnyBuffer } from '../contexts/packets.ts';
import type { bpf_sock } from '../contexts/sockets.ts';
import type { Flags } from '../layout.ts';
import type { i32, i64, u32 } from '../numbers.ts';
import { GPL, give, helper, MOVES, take } from './helper.ts';

/** Corrects the IP checksum at `offset` for a value of 2 or 4 bytes that changed; `size` 0: `to` is a difference of bpf_csum_diff. */
export const bpf_l3_csum_replace: (context: AnyBuffer, offset: u32, from: Flags, to: Flags, size: Flags) => i32 =
  helper(
    10,
    'bpf_l3_csum_replace',
    '4.1',
    [take.context, take.u32('offset'), take.u64('from'), take.u64('to'), take.u64('size')],
    give.i32,
    MOVES,
  );

/** The same for TCP and UDP. In `flags` the size, BPF_F_PSEUDO_HDR (the value is an address), BPF_F_MARK_MANGLED_0, BPF_F_MARK_ENFORCE. */
export const bpf_l4_csum_replace: (context: AnyBuffer, offset: u32, from: Flags, to: Flags, flags?: Flags) => i32 =
  helper(
    11,
    'bpf_l4_csum_replace',
    '4.1',
    [take.context, take.u32('offset'), take.u64('from'), take.u64('to'), take.flags],
    give.i32,
    MOVES,
  );

/** Adds `to` to `seed` and takes `from` away, not folded: 32 bits, or a negative errno. Sizes in steps of 4; either may be null. */
export const bpf_csum_diff: (from: object | string | null, to: object | string | null, seed: Flags) => i64 = helper(
  28,
  'bpf_csum_diff',
  '4.6',
  [take.maybeMemory('from'), take.maybeMemory('to'), take.u32('seed')],
  give.i64,
);

/** Adds to the packet's checksum where the device computed one. Gives it, or -ENOTSUPP. */
export const bpf_csum_update: (context: AnyBuffer, sum: u32) => i64 = helper(
  40,
  'bpf_csum_update',
  '4.9',
  [take.context, take.u32('sum')],
  give.i64,
);

/** How many checksums were verified: BPF_CSUM_LEVEL_QUERY, _INC, _DEC, _RESET. */
export const bpf_csum_level: (context: AnyBuffer, level: Flags) => i32 = helper(
  135,
  'bpf_csum_level',
  '5.8',
  [take.context, take.u64('level')],
  give.i32,
);

/** 0 where the packet's acknowledgement holds a cookie of the listener's, -ENOENT where not. `ip` and `tcp`: the headers. */
export const bpf_tcp_check_syncookie: (listener: bpf_sock, ip: object | string, tcp: object | string) => i32 = helper(
  100,
  'bpf_tcp_check_syncookie',
  '5.2',
  [take.pointer('listener'), take.memory('ip'), take.memory('tcp')],
  give.i32,
  GPL,
);

/** A cookie for a SYN: the sequence number, above it the segment size. `tcp` with its options: slice(header, length). */
export const bpf_tcp_gen_syncookie: (listener: bpf_sock, ip: object | string, tcp: object | string) => i64 = helper(
  110,
  'bpf_tcp_gen_syncookie',
  '5.4',
  [take.pointer('listener'), take.memory('ip'), take.memory('tcp')],
  give.i64,
  GPL,
);

/** The same without a socket, for IPv4. */
export const bpf_tcp_raw_gen_syncookie_ipv4: (ip: object, tcp: object | string) => i64 = helper(
  204,
  'bpf_tcp_raw_gen_syncookie_ipv4',
  '6.0',
  [take.struct('ip', 20), take.memory('tcp')],
  give.i64,
  GPL,
);

/** The same without a socket, for IPv6. */
export const bpf_tcp_raw_gen_syncookie_ipv6: (ip: object, tcp: object | string) => i64 = helper(
  205,
  'bpf_tcp_raw_gen_syncookie_ipv6',
  '6.0',
  [take.struct('ip', 40), take.memory('tcp')],
  give.i64,
  GPL,
);

/** 0 where the acknowledgement holds a cookie made without a socket, for IPv4. */
export const bpf_tcp_raw_check_syncookie_ipv4: (ip: object, tcp: object) => i32 = helper(
  206,
  'bpf_tcp_raw_check_syncookie_ipv4',
  '6.0',
  [take.struct('ip', 20), take.struct('tcp', 20)],
  give.i32,
  GPL,
);

/** The same for IPv6. */
export const bpf_tcp_raw_check_syncookie_ipv6: (ip: object, tcp: object) => i32 = helper(
  207,
  'bpf_tcp_raw_check_syncookie_ipv6',
  '6.0',
  [take.struct('ip', 40), take.struct('tcp', 20)],
  give.i32,
  GPL,
);
