/**
 * Room `kernel`: bpf(2)'s commands, the fields of its argument and what it tells about objects (include/uapi/linux/bpf.h).
 * `test/kernel/headers.test.ts` pins them.
 *
 * A newcomer would get wrong: the argument is one union for all commands. Fields of different commands lie over each other, so
 * whatever a command does not use must be zero; zeroes beyond what a kernel knows are allowed, anything else there is E2BIG.
 */

export const BPF_MAP_GET_NEXT_KEY = 4;
export const BPF_OBJ_PIN = 6;
export const BPF_OBJ_GET = 7;
export const BPF_PROG_ATTACH = 8;
export const BPF_PROG_DETACH = 9;
export const BPF_PROG_GET_NEXT_ID = 11;
export const BPF_MAP_GET_NEXT_ID = 12;
export const BPF_PROG_GET_FD_BY_ID = 13;
export const BPF_MAP_GET_FD_BY_ID = 14;
export const BPF_OBJ_GET_INFO_BY_FD = 15;
export const BPF_PROG_QUERY = 16;
export const BPF_RAW_TRACEPOINT_OPEN = 17;
export const BPF_BTF_LOAD = 18;
export const BPF_BTF_GET_FD_BY_ID = 19;
export const BPF_MAP_LOOKUP_AND_DELETE_ELEM = 21;
export const BPF_MAP_FREEZE = 22;
export const BPF_BTF_GET_NEXT_ID = 23;
export const BPF_MAP_LOOKUP_BATCH = 24;
export const BPF_MAP_LOOKUP_AND_DELETE_BATCH = 25;
export const BPF_MAP_UPDATE_BATCH = 26;
export const BPF_MAP_DELETE_BATCH = 27;
export const BPF_LINK_CREATE = 28;
export const BPF_LINK_UPDATE = 29;
export const BPF_LINK_GET_FD_BY_ID = 30;
export const BPF_LINK_GET_NEXT_ID = 31;
export const BPF_ENABLE_STATS = 32;
export const BPF_ITER_CREATE = 33;
export const BPF_LINK_DETACH = 34;
export const BPF_PROG_BIND_MAP = 35;

// Maps: creation and what an operation shall do.
export const BPF_F_NO_COMMON_LRU = 2;
export const BPF_F_NUMA_NODE = 4;
export const BPF_F_RDONLY = 8;
export const BPF_F_WRONLY = 16;
export const BPF_F_STACK_BUILD_ID = 32;
export const BPF_F_ZERO_SEED = 64;
export const BPF_F_RDONLY_PROG = 128;
export const BPF_F_WRONLY_PROG = 256;
export const BPF_F_CLONE = 512;
export const BPF_F_MMAPABLE = 1024;
export const BPF_F_PRESERVE_ELEMS = 2048;
export const BPF_F_INNER_MAP = 4096;
export const BPF_F_LINK = 8192;
export const BPF_F_VTYPE_BTF_OBJ_FD = 32768;
export const BPF_F_LOCK = 4;

// Programs.
export const BPF_F_STRICT_ALIGNMENT = 1;
export const BPF_F_ANY_ALIGNMENT = 2;
export const BPF_F_TEST_RND_HI32 = 4;
export const BPF_F_TEST_STATE_FREQ = 8;
export const BPF_F_SLEEPABLE = 16;
export const BPF_F_XDP_HAS_FRAGS = 32;
export const BPF_F_XDP_DEV_BOUND_ONLY = 64;
export const BPF_F_TEST_RUN_ON_CPU = 1;
export const BPF_F_TEST_XDP_LIVE_FRAMES = 2;

// Attaching.
export const BPF_F_ALLOW_OVERRIDE = 1;
export const BPF_F_ALLOW_MULTI = 2;
export const BPF_F_REPLACE = 4;
export const BPF_F_BEFORE = 8;
export const BPF_F_AFTER = 16;
export const BPF_F_QUERY_EFFECTIVE = 1;
export const XDP_FLAGS_SKB_MODE = 2;
export const XDP_FLAGS_DRV_MODE = 4;
export const XDP_FLAGS_HW_MODE = 8;

// Ring buffers: the two high bits of a record's length, and what lies before each record.
export const BPF_RINGBUF_BUSY_BIT = 2147483648;
export const BPF_RINGBUF_DISCARD_BIT = 1073741824;
export const BPF_RINGBUF_HDR_SZ = 8;

/** union bpf_attr, in bytes. Where two commands have a field of one name it lies at one place, or the name has its command before it. */
export const BPF_ATTR = {
  map_type: 0,
  key_size: 4,
  value_size: 8,
  max_entries: 12,
  map_flags: 16,
  inner_map_fd: 20,
  numa_node: 24,
  map_name: 28,
  map_ifindex: 44,
  btf_fd: 48,
  btf_key_type_id: 52,
  btf_value_type_id: 56,
  btf_vmlinux_value_type_id: 60,
  map_extra: 64,
  value_type_btf_obj_fd: 72,
  map_fd: 0,
  key: 8,
  value: 16,
  next_key: 16,
  flags: 24,
  'batch.in_batch': 0,
  'batch.out_batch': 8,
  'batch.keys': 16,
  'batch.values': 24,
  'batch.count': 32,
  'batch.map_fd': 36,
  'batch.elem_flags': 40,
  'batch.flags': 48,
  prog_type: 0,
  insn_cnt: 4,
  insns: 8,
  license: 16,
  log_level: 24,
  log_size: 28,
  log_buf: 32,
  kern_version: 40,
  prog_flags: 44,
  prog_name: 48,
  prog_ifindex: 64,
  expected_attach_type: 68,
  prog_btf_fd: 72,
  func_info_rec_size: 76,
  func_info: 80,
  func_info_cnt: 88,
  line_info_rec_size: 92,
  line_info: 96,
  line_info_cnt: 104,
  attach_btf_id: 108,
  attach_prog_fd: 112,
  attach_btf_obj_fd: 112,
  fd_array: 120,
  pathname: 0,
  bpf_fd: 8,
  file_flags: 12,
  target_fd: 0,
  target_ifindex: 0,
  attach_bpf_fd: 4,
  attach_type: 8,
  attach_flags: 12,
  replace_bpf_fd: 16,
  'test.prog_fd': 0,
  'test.retval': 4,
  'test.data_size_in': 8,
  'test.data_size_out': 12,
  'test.data_in': 16,
  'test.data_out': 24,
  'test.repeat': 32,
  'test.duration': 36,
  'test.ctx_size_in': 40,
  'test.ctx_size_out': 44,
  'test.ctx_in': 48,
  'test.ctx_out': 56,
  'test.flags': 64,
  'test.cpu': 68,
  'test.batch_size': 72,
  start_id: 0,
  next_id: 4,
  open_flags: 8,
  'info.bpf_fd': 0,
  'info.info_len': 4,
  'info.info': 8,
  'query.target_fd': 0,
  'query.attach_type': 4,
  'query.query_flags': 8,
  'query.attach_flags': 12,
  'query.prog_ids': 16,
  'query.prog_cnt': 24,
  'raw_tracepoint.name': 0,
  'raw_tracepoint.prog_fd': 8,
  'raw_tracepoint.cookie': 16,
  btf: 0,
  btf_log_buf: 8,
  btf_size: 16,
  btf_log_size: 20,
  btf_log_level: 24,
  'link_create.prog_fd': 0,
  'link_create.target_fd': 4,
  'link_create.target_ifindex': 4,
  'link_create.attach_type': 8,
  'link_create.flags': 12,
  'link_create.target_btf_id': 16,
  'link_create.iter_info': 16,
  'link_create.iter_info_len': 24,
  'link_create.perf_event.bpf_cookie': 16,
  'link_create.tracing.target_btf_id': 16,
  'link_create.tracing.cookie': 24,
  'link_create.netfilter.pf': 16,
  'link_create.netfilter.hooknum': 20,
  'link_create.netfilter.priority': 24,
  'link_create.netfilter.flags': 28,
  'link_create.tcx.relative_fd': 16,
  'link_create.tcx.expected_revision': 24,
  'link_create.kprobe_multi.flags': 16,
  'link_create.kprobe_multi.cnt': 20,
  'link_create.kprobe_multi.syms': 24,
  'link_create.uprobe_multi.path': 16,
  'link_create.uprobe_multi.offsets': 24,
  'link_create.uprobe_multi.ref_ctr_offsets': 32,
  'link_create.uprobe_multi.cookies': 40,
  'link_create.uprobe_multi.cnt': 48,
  'link_create.uprobe_multi.flags': 52,
  'link_create.uprobe_multi.pid': 56,
  'link_update.link_fd': 0,
  'link_update.new_prog_fd': 4,
  'link_update.flags': 8,
  'link_update.old_prog_fd': 12,
  'link_detach.link_fd': 0,
  'enable_stats.type': 0,
  'iter_create.link_fd': 0,
  'iter_create.flags': 4,
  'prog_bind_map.prog_fd': 0,
  'prog_bind_map.map_fd': 4,
  'prog_bind_map.flags': 8,
} as const;

/** struct bpf_map_info, in bytes. */
export const BPF_MAP_INFO = {
  type: 0,
  id: 4,
  key_size: 8,
  value_size: 12,
  max_entries: 16,
  map_flags: 20,
  name: 24,
  btf_vmlinux_value_type_id: 44,
  btf_id: 64,
  btf_key_type_id: 68,
  btf_value_type_id: 72,
  map_extra: 80,
} as const;

/** struct bpf_prog_info, in bytes. */
export const BPF_PROG_INFO = {
  type: 0,
  id: 4,
  tag: 8,
  jited_prog_len: 16,
  xlated_prog_len: 20,
  load_time: 40,
  created_by_uid: 48,
  nr_map_ids: 52,
  map_ids: 56,
  name: 64,
  btf_id: 128,
  run_time_ns: 192,
  run_cnt: 200,
  recursion_misses: 208,
  verified_insns: 216,
  attach_btf_id: 224,
} as const;

/** struct bpf_link_info, in bytes; what follows prog_id depends on the type. */
export const BPF_LINK_INFO = {
  type: 0,
  id: 4,
  prog_id: 8,
  'tracing.attach_type': 16,
  'cgroup.cgroup_id': 16,
  'cgroup.attach_type': 24,
  'netns.netns_ino': 16,
  'netns.attach_type': 20,
  'xdp.ifindex': 16,
  'struct_ops.map_id': 16,
  'netfilter.pf': 16,
  'netfilter.hooknum': 20,
  'netfilter.priority': 24,
  'tcx.ifindex': 16,
  'tcx.attach_type': 20,
  'netkit.ifindex': 16,
  'netkit.attach_type': 20,
  'perf_event.type': 16,
} as const;

/** struct bpf_btf_info, in bytes. */
export const BPF_BTF_INFO = {
  btf: 0,
  btf_size: 8,
  id: 12,
  name: 16,
  name_len: 24,
  kernel_btf: 28,
} as const;
