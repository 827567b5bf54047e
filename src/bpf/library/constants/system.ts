/**
 * Room `bpf`: flags of tracing helpers and timers, clocks, and errno values as helpers give them (include/uapi/linux/bpf.h,
 * time.h).
 *
 * A newcomer would get wrong: helpers give errno values negated: `=== -ENOENT`.
 */
// bpf_timer_start, since 6.4 and 6.7.
export const BPF_F_TIMER_ABS = 1;
export const BPF_F_TIMER_CPU_PIN = 2;

// bpf_timer_init.
export const CLOCK_REALTIME = 0;
export const CLOCK_MONOTONIC = 1;
export const CLOCK_BOOTTIME = 7;

// bpf_read_branch_records.
export const BPF_F_GET_BRANCH_RECORDS_SIZE = 1;

// bpf_bprm_opts_set.
export const BPF_F_BPRM_SECUREEXEC = 1;

// bpf_snprintf_btf and bpf_seq_printf_btf.
export const BTF_F_COMPACT = 1;
export const BTF_F_NONAME = 2;
export const BTF_F_PTR_RAW = 4;
export const BTF_F_ZERO = 8;

// What helpers and hooks give, negated (asm-generic/errno.h).
export const EPERM = 1;
export const ENOENT = 2;
export const ESRCH = 3;
export const EINTR = 4;
export const E2BIG = 7;
export const EAGAIN = 11;
export const ENOMEM = 12;
export const EACCES = 13;
export const EFAULT = 14;
export const EBUSY = 16;
export const EEXIST = 17;
export const ENODEV = 19;
export const EINVAL = 22;
export const ENOSPC = 28;
export const ERANGE = 34;
export const ENOMSG = 42;
export const EOPNOTSUPP = 95;
export const EADDRINUSE = 98;
export const ECONNREFUSED = 111;
export const EHOSTUNREACH = 113;
