/**
 * Room `bpf`: since when the kernel has a kind of program, map or link, and by which option it is built in; for saying why one is
 * missing. From the kernel's history and its Kconfig files (kernel/bpf/Kconfig, net/Kconfig).
 *
 * A newcomer would get wrong: distributions carry features back to older kernels. So a release here explains a refusal, it never is one.
 */
import type { LinkTypeName, MapTypeName, ProgramTypeName } from '../../kernel/bpf-names.ts';

/** The first release, and the option that it needs beside CONFIG_BPF_SYSCALL; null for none. */
export type Fact = readonly [since: string, option: string | null];

export const PROGRAM_FACTS: Readonly<Record<ProgramTypeName, Fact>> = {
  socket_filter: ['3.19', 'CONFIG_NET'],
  kprobe: ['4.1', 'CONFIG_BPF_EVENTS'],
  sched_cls: ['4.1', 'CONFIG_NET'],
  sched_act: ['4.1', 'CONFIG_NET'],
  tracepoint: ['4.7', 'CONFIG_BPF_EVENTS'],
  xdp: ['4.8', 'CONFIG_NET'],
  perf_event: ['4.9', 'CONFIG_BPF_EVENTS'],
  cgroup_skb: ['4.10', 'CONFIG_CGROUP_BPF'],
  cgroup_sock: ['4.10', 'CONFIG_CGROUP_BPF'],
  lwt_in: ['4.10', 'CONFIG_LWTUNNEL_BPF'],
  lwt_out: ['4.10', 'CONFIG_LWTUNNEL_BPF'],
  lwt_xmit: ['4.10', 'CONFIG_LWTUNNEL_BPF'],
  sock_ops: ['4.13', 'CONFIG_NET'],
  sk_skb: ['4.14', 'CONFIG_NET_SOCK_MSG'],
  cgroup_device: ['4.15', 'CONFIG_CGROUP_BPF'],
  sk_msg: ['4.17', 'CONFIG_NET_SOCK_MSG'],
  raw_tracepoint: ['4.17', 'CONFIG_BPF_EVENTS'],
  cgroup_sock_addr: ['4.17', 'CONFIG_CGROUP_BPF'],
  lwt_seg6local: ['4.18', 'CONFIG_IPV6_SEG6_BPF'],
  lirc_mode2: ['4.18', 'CONFIG_BPF_LIRC_MODE2'],
  sk_reuseport: ['4.19', 'CONFIG_INET'],
  flow_dissector: ['4.20', 'CONFIG_NET'],
  cgroup_sysctl: ['5.2', 'CONFIG_CGROUP_BPF'],
  raw_tracepoint_writable: ['5.2', 'CONFIG_BPF_EVENTS'],
  cgroup_sockopt: ['5.3', 'CONFIG_CGROUP_BPF'],
  tracing: ['5.5', 'CONFIG_BPF_EVENTS'],
  struct_ops: ['5.6', 'CONFIG_BPF_JIT'],
  ext: ['5.6', 'CONFIG_BPF_JIT'],
  lsm: ['5.7', 'CONFIG_BPF_LSM'],
  sk_lookup: ['5.9', 'CONFIG_INET'],
  syscall: ['5.14', null],
  netfilter: ['6.4', 'CONFIG_NETFILTER_BPF_LINK'],
};

export const MAP_FACTS: Readonly<Record<MapTypeName, Fact>> = {
  hash: ['3.19', null],
  array: ['3.19', null],
  prog_array: ['4.2', null],
  perf_event_array: ['4.3', 'CONFIG_PERF_EVENTS'],
  percpu_hash: ['4.6', null],
  percpu_array: ['4.6', null],
  stack_trace: ['4.6', 'CONFIG_PERF_EVENTS'],
  cgroup_array: ['4.8', 'CONFIG_CGROUPS'],
  lru_hash: ['4.10', null],
  lru_percpu_hash: ['4.10', null],
  lpm_trie: ['4.11', null],
  array_of_maps: ['4.12', null],
  hash_of_maps: ['4.12', null],
  devmap: ['4.14', 'CONFIG_NET'],
  sockmap: ['4.14', 'CONFIG_NET_SOCK_MSG'],
  cpumap: ['4.15', 'CONFIG_NET'],
  xskmap: ['4.18', 'CONFIG_XDP_SOCKETS'],
  sockhash: ['4.18', 'CONFIG_NET_SOCK_MSG'],
  cgroup_storage: ['4.19', 'CONFIG_CGROUP_BPF'],
  reuseport_sockarray: ['4.19', 'CONFIG_INET'],
  percpu_cgroup_storage: ['4.20', 'CONFIG_CGROUP_BPF'],
  queue: ['4.20', null],
  stack: ['4.20', null],
  sk_storage: ['5.2', 'CONFIG_NET'],
  devmap_hash: ['5.4', 'CONFIG_NET'],
  struct_ops: ['5.6', 'CONFIG_BPF_JIT'],
  ringbuf: ['5.8', null],
  inode_storage: ['5.10', 'CONFIG_BPF_LSM'],
  task_storage: ['5.11', null],
  bloom_filter: ['5.16', null],
  user_ringbuf: ['6.1', null],
  cgrp_storage: ['6.2', 'CONFIG_CGROUPS'],
  arena: ['6.9', 'CONFIG_MMU'],
};

export const LINK_FACTS: Readonly<Record<LinkTypeName, Fact>> = {
  raw_tracepoint: ['4.17', 'CONFIG_BPF_EVENTS'],
  tracing: ['5.5', 'CONFIG_BPF_JIT'],
  cgroup: ['5.7', 'CONFIG_CGROUP_BPF'],
  iter: ['5.8', null],
  netns: ['5.8', 'CONFIG_NET'],
  xdp: ['5.9', 'CONFIG_NET'],
  perf_event: ['5.15', 'CONFIG_PERF_EVENTS'],
  kprobe_multi: ['5.18', 'CONFIG_FPROBE'],
  struct_ops: ['6.4', 'CONFIG_BPF_JIT'],
  netfilter: ['6.4', 'CONFIG_NETFILTER_BPF_LINK'],
  tcx: ['6.6', 'CONFIG_NET_XGRESS'],
  uprobe_multi: ['6.6', 'CONFIG_UPROBES'],
  netkit: ['6.7', 'CONFIG_NETKIT'],
  sockmap: ['6.10', 'CONFIG_NET_SOCK_MSG'],
};
