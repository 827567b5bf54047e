/**
 * Room `bpf`: the structs that helpers take and fill (include/uapi/linux/bpf.h), and the fields of maps that the kernel itself
 * looks after: locks, timers. Kernel names throughout.
 *
 * A newcomer would get wrong: members of a C union are fields of the same struct here, at the same offset. Writing one writes the
 * others.
 */
import type { Fields, StructLayout, StructValue, Value } from './layout.ts';
import { be16, be32, i32, u8, u16, u32, u64 } from './numbers.ts';
import { arrayOf as array, namedStruct, overlaidStruct } from './structs.ts';

/** What the helper `bpf_fib_lookup` is asked and what it answers. */
export type bpf_fib_lookup_struct = Value<typeof bpf_fib_lookup_struct>;
export const bpf_fib_lookup_struct = overlaidStruct(
  'bpf_fib_lookup',
  {
    /** AF_INET or AF_INET6. */
    family: u8,
    /** IPPROTO_*, where rules look at ports; else 0. */
    l4_protocol: u8,
    sport: be16,
    dport: be16,
    /** In: bytes of the packet, for the check against the MTU; 0 for none. */
    tot_len: u16,
    /** Out. */
    mtu_result: u16,
    /** In: where it came in. Out: where it goes out. */
    ifindex: u32,
    /** IPv6: flow label and class. */
    flowinfo: be32,
    /** IPv4. */
    tos: u8,
    /** Out: the route's metric. */
    rt_metric: u32,
    ipv6_src: array(be32, 4),
    ipv4_src: be32,
    /** Out: the gateway, where the route has one. */
    ipv6_dst: array(be32, 4),
    ipv4_dst: be32,
    /** In, with BPF_FIB_LOOKUP_DIRECT | BPF_FIB_LOOKUP_TBID: the table. */
    tbid: u32,
    /** Out: of the outgoing VLAN. */
    h_vlan_proto: be16,
    h_vlan_TCI: be16,
    /** Out: the addresses for the Ethernet header. */
    smac: array(u8, 6),
    dmac: array(u8, 6),
  },
  {
    mtu_result: 'tot_len',
    tos: 'flowinfo',
    rt_metric: 'flowinfo',
    ipv4_src: 'ipv6_src',
    ipv4_dst: 'ipv6_dst',
    h_vlan_proto: 'tbid',
    h_vlan_TCI: ['tbid', 2],
  },
  'bpf_fib_lookup_struct',
);

/** Where `bpf_redirect_neigh` shall look for the neighbour. */
export type bpf_redir_neigh = Value<typeof bpf_redir_neigh>;
export const bpf_redir_neigh = overlaidStruct(
  'bpf_redir_neigh',
  { nh_family: u32, ipv6_nh: array(be32, 4), ipv4_nh: be32 },
  { ipv4_nh: 'ipv6_nh' },
);

/** A tunnel's metadata. */
export type bpf_tunnel_key = Value<typeof bpf_tunnel_key>;
export const bpf_tunnel_key = overlaidStruct(
  'bpf_tunnel_key',
  {
    tunnel_id: u32,
    remote_ipv6: array(be32, 4),
    /** In the host's order, in the kernel too. */
    remote_ipv4: u32,
    tunnel_tos: u8,
    tunnel_ttl: u8,
    tunnel_ext: u16,
    tunnel_flags: be16,
    tunnel_label: u32,
    local_ipv6: array(be32, 4),
    local_ipv4: u32,
  },
  { remote_ipv4: 'remote_ipv6', tunnel_flags: 'tunnel_ext', local_ipv4: 'local_ipv6' },
);

/** A state of IPsec. */
export type bpf_xfrm_state = Value<typeof bpf_xfrm_state>;
export const bpf_xfrm_state = overlaidStruct(
  'bpf_xfrm_state',
  { reqid: u32, spi: be32, family: u16, ext: u16, remote_ipv6: array(be32, 4), remote_ipv4: be32 },
  { remote_ipv4: 'remote_ipv6' },
);

/** A perf counter; `enabled` and `running` in nanoseconds. */
export type bpf_perf_event_value = Value<typeof bpf_perf_event_value>;
export const bpf_perf_event_value = namedStruct('bpf_perf_event_value', { counter: u64, enabled: u64, running: u64 });

/** A process and thread in a pid namespace. */
export type bpf_pidns_info = Value<typeof bpf_pidns_info>;
export const bpf_pidns_info = namedStruct('bpf_pidns_info', { pid: u32, tgid: u32 });

/** A pointer with the BTF id of what it points to, for printing. */
export type btf_ptr = Value<typeof btf_ptr>;
export const btf_ptr = namedStruct('btf_ptr', { ptr: u64, type_id: u32, flags: u32 });

/** A device map's value with a program to run at the device. */
export type bpf_devmap_val = Value<typeof bpf_devmap_val>;
export const bpf_devmap_val = namedStruct('bpf_devmap_val', { ifindex: u32, bpf_prog: i32 });

/** A CPU map's value with a program to run on the CPU. */
export type bpf_cpumap_val = Value<typeof bpf_cpumap_val>;
export const bpf_cpumap_val = namedStruct('bpf_cpumap_val', { qsize: u32, bpf_prog: i32 });

/** The key of `cgroupLocalStorage` where attach types shall not share values. */
export type bpf_cgroup_storage_key = Value<typeof bpf_cgroup_storage_key>;
export const bpf_cgroup_storage_key = namedStruct('bpf_cgroup_storage_key', { cgroup_inode_id: u64, attach_type: u32 });

/** What only the kernel writes: in a literal `{}` stands for it. */
type Owned<F extends Fields> = StructLayout<Partial<StructValue<F>>>;

function ownedStruct<F extends Fields>(name: string, fields: F, exported: string): Owned<F> {
  return namedStruct(name, fields, exported) as Owned<F>;
}

/** A field that `bpf_spin_lock(value.lock)` locks. At most one in a value; in a literal `{}`. */
export type spinLock = Value<typeof spinLock>;
export const spinLock = ownedStruct('bpf_spin_lock', { val: u32 }, 'spinLock');

/** A field that `bpf_timer_init(value.timer, map, CLOCK_MONOTONIC)` makes a timer. */
export type timer = Value<typeof timer>;
export const timer = ownedStruct('bpf_timer', { opaque: array(u64, 2) }, 'timer');

/** A field for deferred work in process context (since 6.10). */
export type workQueue = Value<typeof workQueue>;
export const workQueue = ownedStruct('bpf_wq', { opaque: array(u64, 2) }, 'workQueue');

/** A dynptr: `const memory = local(dynptr)`; lies on the stack alone. */
export type dynptr = Value<typeof dynptr>;
export const dynptr = namedStruct('bpf_dynptr', { opaque: array(u64, 2) }, 'dynptr');
