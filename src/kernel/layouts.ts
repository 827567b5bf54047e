/**
 * Room `kernel`: where the fields of the kernel's structures lie, in bytes, for x86-64. io_uring's own are in `uring-abi.ts`.
 *
 * A newcomer would get wrong: epoll_event is packed on x86-64 only (12 bytes, `data` at 4), and an address's port is big-endian
 * while its family is not. `test/kernel/headers.test.ts` pins every number to the headers of the machine.
 */

/** struct sockaddr_in */
export const SOCKADDR_IN = { size: 16, sin_family: 0, sin_port: 2, sin_addr: 4 } as const;

/** struct sockaddr_in6 */
export const SOCKADDR_IN6 = {
  size: 28,
  sin6_family: 0,
  sin6_port: 2,
  sin6_flowinfo: 4,
  sin6_addr: 8,
  sin6_scope_id: 24,
} as const;

/** struct sockaddr_un */
export const SOCKADDR_UN = { size: 110, sun_family: 0, sun_path: 2 } as const;

/** struct sockaddr_storage */
export const SOCKADDR_STORAGE = { size: 128, ss_family: 0 } as const;

/** struct iovec */
export const IOVEC = { size: 16, iov_base: 0, iov_len: 8 } as const;

/** struct msghdr */
export const MSGHDR = {
  size: 56,
  msg_name: 0,
  msg_namelen: 8,
  msg_iov: 16,
  msg_iovlen: 24,
  msg_control: 32,
  msg_controllen: 40,
  msg_flags: 48,
} as const;

/** struct mmsghdr */
export const MMSGHDR = { size: 64, msg_hdr: 0, msg_len: 56 } as const;

/** struct cmsghdr */
export const CMSGHDR = { size: 16, cmsg_len: 0, cmsg_level: 8, cmsg_type: 12 } as const;

/** struct ucred */
export const UCRED = { size: 12, pid: 0, uid: 4, gid: 8 } as const;

/** struct linger */
export const LINGER = { size: 8, l_onoff: 0, l_linger: 4 } as const;

/** struct ifreq */
export const IFREQ = { size: 40, ifr_name: 0, ifr_ifindex: 16 } as const;

/** struct pollfd */
export const POLLFD = { size: 8, fd: 0, events: 4, revents: 6 } as const;

/** struct epoll_event */
export const EPOLL_EVENT = { size: 12, events: 0, data: 4 } as const;

/** struct timespec */
export const TIMESPEC = { size: 16, tv_sec: 0, tv_nsec: 8 } as const;

/** struct rlimit64 */
export const RLIMIT64 = { size: 16, rlim_cur: 0, rlim_max: 8 } as const;

/** struct statx */
export const STATX = {
  size: 256,
  stx_mask: 0,
  stx_mode: 28,
  stx_ino: 32,
  stx_size: 40,
  stx_mtime: 112,
  stx_ctime: 96,
} as const;

/** struct open_how */
export const OPEN_HOW = { size: 24, flags: 0, mode: 8, resolve: 16 } as const;

/** struct in_pktinfo */
export const IN_PKTINFO = { size: 12, ipi_ifindex: 0, ipi_spec_dst: 4, ipi_addr: 8 } as const;

/** struct in6_pktinfo */
export const IN6_PKTINFO = { size: 20, ipi6_addr: 0, ipi6_ifindex: 16 } as const;

/** struct sock_extended_err */
export const SOCK_EXTENDED_ERR = {
  size: 16,
  ee_errno: 0,
  ee_origin: 4,
  ee_type: 5,
  ee_code: 6,
  ee_info: 8,
  ee_data: 12,
} as const;

/** struct tcp_info, without its size: it grows from release to release, and getsockopt(2) says how much came. */
export const TCP_INFO_LAYOUT = {
  tcpi_state: 0,
  tcpi_retransmits: 2,
  tcpi_rto: 8,
  tcpi_snd_mss: 16,
  tcpi_unacked: 24,
  tcpi_lost: 32,
  tcpi_rtt: 68,
  tcpi_rttvar: 72,
  tcpi_snd_cwnd: 80,
  tcpi_total_retrans: 100,
} as const;

/** struct sock_filter */
export const SOCK_FILTER = { size: 8, code: 0, jt: 2, jf: 3, k: 4 } as const;

/** struct sock_fprog */
export const SOCK_FPROG = { size: 16, len: 0, filter: 8 } as const;

/** struct io_uring_probe */
export const IO_URING_PROBE = { size: 16, last_op: 0, ops_len: 1, ops: 16 } as const;

/** struct io_uring_probe_op */
export const IO_URING_PROBE_OP = { size: 8, op: 0, flags: 2 } as const;
