/**
 * Test support: what the C compiler of this machine makes of the headers that `src/bpf/library/` describes.
 *
 * A newcomer would get wrong: linux/ and netinet/ headers define the same names. Only linux/ headers are included here,
 * though some of those include libc's sys/socket.h.
 */
import { spawnSync } from 'node:child_process';
import type { HeaderSet } from './headers.ts';

const found = spawnSync('cc', ['--version']);

/** The reason to skip, or false. */
export const compilerSkip: string | false = found.error === undefined ? false : 'no C compiler (apt install gcc)';

/** The kernel's headers for programs and for what is on the wire. */
export const bpfHeaders: HeaderSet = {
  name: 'kernel',
  headers: [
    'string.h',
    'time.h',
    'linux/types.h',
    'linux/bpf.h',
    'linux/bpf_perf_event.h',
    'linux/errno.h',
    'linux/icmp.h',
    'linux/icmpv6.h',
    'linux/if_arp.h',
    'linux/if_ether.h',
    'linux/if_packet.h',
    'linux/if_tunnel.h',
    'linux/in.h',
    'linux/in6.h',
    'linux/ip.h',
    'linux/ipv6.h',
    'linux/netfilter.h',
    'linux/pkt_cls.h',
    'linux/seg6.h',
    'linux/tcp.h',
    'linux/udp.h',
    'asm/ptrace.h',
    'asm/socket.h',
  ],
};
