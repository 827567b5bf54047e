/**
 * Room `bpf`: what the VM's helpers ask of the world: time, chance, the CPU, the current task, routes and sockets. Each
 * part may be given, so that a test decides; what is not given is the process's own or nothing.
 *
 * A newcomer would get wrong: everything is asked for when a program asks, so a test may change its answers between
 * runs.
 */

/** What a program asks of the kernel's routing (struct bpf_fib_lookup), as bytes that the answer is written into. */
export interface RouteQuery {
  /** struct bpf_fib_lookup: read the question, write the answer. */
  readonly parameters: Uint8Array;
  readonly flags: number;
}

/** What a program asks of the kernel's sockets. Addresses and ports in network order, as in struct bpf_sock_tuple. */
export interface SocketQuery {
  readonly protocol: 'tcp' | 'udp';
  readonly tuple: Uint8Array;
  readonly namespace: bigint;
}

/** Each part may be given. */
export interface World {
  /** bpf_ktime_get_ns and kin, in nanoseconds; the process's monotonic clock unless told. */
  readonly now?: () => bigint;
  /** bpf_get_prandom_u32: an integer from 0 to 2^32 - 1; Math.random unless told. */
  readonly random?: () => number;
  /** bpf_get_smp_processor_id, and whose value of a per-CPU map is meant; 0 unless told. */
  readonly cpu?: () => number;
  /** Takes each line of bpf_trace_printk; nobody does unless told. */
  readonly trace?: (line: string) => void;
  /** The current task's ids and name. */
  readonly task?: {
    readonly pid?: number;
    readonly threadId?: number;
    readonly uid?: number;
    readonly gid?: number;
    readonly comm?: string;
    readonly cgroup?: bigint;
    /** The memory of its task_struct, where a program reads it. */
    readonly memory?: Uint8Array;
  };
  /** bpf_fib_lookup: BPF_FIB_LKUP_RET_*; "no route" unless told. */
  readonly route?: (query: RouteQuery) => number;
  /** bpf_sk_lookup_tcp and kin: the socket's struct bpf_sock, or null; none unless told. */
  readonly socket?: (query: SocketQuery) => Uint8Array | null;
  /** bpf_tcp_sock: struct bpf_tcp_sock of a socket; none unless told. */
  readonly tcpSocket?: (socket: Uint8Array) => Uint8Array | null;
  /** bpf_get_socket_cookie of a socket's or context's memory; 1 unless told. */
  readonly cookie?: (of: Uint8Array) => bigint;
  /** bpf_probe_read_kernel and kin of an address that is none of the VM's; a fault (-EFAULT) unless told. */
  readonly readMemory?: (address: bigint, size: number) => Uint8Array | null;
  /** bpf_tcp_gen_syncookie and bpf_tcp_raw_gen_syncookie_*: 32 bits, from the IP and the TCP header; 0x12345678 unless told. */
  readonly synCookie?: (ip: Uint8Array, tcp: Uint8Array) => number;
  /** bpf_getsockopt and bpf_setsockopt: 0 or -errno; options are kept by level and name unless told. */
  readonly socketOption?: (set: boolean, level: number, name: number, value: Uint8Array) => number;
  /** bpf_get_stackid: a stack's number or -errno; 0 unless told. */
  readonly stackId?: () => number;
}
