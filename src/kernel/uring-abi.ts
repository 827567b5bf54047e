/**
 * Room `kernel`: io_uring's constants and struct layouts (include/uapi/linux/io_uring.h), as 32-bit words where the engine
 * reads and writes them. `test/kernel/headers.test.ts` pins them to the headers of the machine.
 */

export const IORING_SETUP_CQSIZE = 1 << 3;
export const IORING_SETUP_CLAMP = 1 << 4;
export const IORING_SETUP_SUBMIT_ALL = 1 << 7;
export const IORING_SETUP_COOP_TASKRUN = 1 << 8;
export const IORING_SETUP_TASKRUN_FLAG = 1 << 9;
export const IORING_SETUP_SINGLE_ISSUER = 1 << 12;
export const IORING_SETUP_DEFER_TASKRUN = 1 << 13;
export const IORING_SETUP_NO_SQARRAY = 1 << 16;

export const IORING_FEAT_SINGLE_MMAP = 1 << 0;
export const IORING_FEAT_NODROP = 1 << 1;
export const IORING_FEAT_EXT_ARG = 1 << 8;
export const IORING_FEAT_CQE_SKIP = 1 << 11;
/** Linux 6.12. */
export const IORING_FEAT_MIN_TIMEOUT = 1 << 15;

export const IORING_ENTER_GETEVENTS = 1 << 0;
export const IORING_ENTER_EXT_ARG = 1 << 3;
export const IORING_ENTER_REGISTERED_RING = 1 << 4;

export const IORING_OFF_SQ_RING = 0;
export const IORING_OFF_SQES = 0x10000000;

export const IORING_SQ_CQ_OVERFLOW = 1 << 1;
export const IORING_SQ_TASKRUN = 1 << 2;

export const IORING_OP_NOP = 0;
export const IORING_OP_POLL_ADD = 6;
export const IORING_OP_SENDMSG = 9;
export const IORING_OP_RECVMSG = 10;
export const IORING_OP_ACCEPT = 13;
export const IORING_OP_ASYNC_CANCEL = 14;
export const IORING_OP_CONNECT = 16;
export const IORING_OP_CLOSE = 19;
export const IORING_OP_SEND = 26;
export const IORING_OP_RECV = 27;
export const IORING_OP_PROVIDE_BUFFERS = 31;
export const IORING_OP_SHUTDOWN = 34;
export const IORING_OP_SEND_ZC = 47;

export const IOSQE_FIXED_FILE = 1 << 0;
export const IOSQE_IO_LINK = 1 << 2;
export const IOSQE_IO_HARDLINK = 1 << 3;
export const IOSQE_BUFFER_SELECT = 1 << 5;
export const IOSQE_CQE_SKIP_SUCCESS = 1 << 6;

export const IORING_RECV_MULTISHOT = 1 << 1;
export const IORING_RECVSEND_POLL_FIRST = 1 << 0;
export const IORING_SEND_ZC_REPORT_USAGE = 1 << 3;
export const IORING_ACCEPT_MULTISHOT = 1 << 0;
export const IORING_NOTIF_USAGE_ZC_COPIED = 0x80000000;

export const IORING_CQE_F_BUFFER = 1 << 0;
export const IORING_CQE_F_MORE = 1 << 1;
export const IORING_CQE_F_NOTIF = 1 << 3;
export const IORING_CQE_BUFFER_SHIFT = 16;

export const IORING_REGISTER_PROBE = 8;
export const IORING_REGISTER_RING_FDS = 20;
export const IORING_REGISTER_PBUF_RING = 22;
export const IORING_UNREGISTER_PBUF_RING = 23;

/** struct io_uring_params, in bytes. */
export const IO_URING_PARAMS = {
  size: 120,
  sq_entries: 0,
  cq_entries: 4,
  flags: 8,
  features: 20,
  sq_off: 40,
  cq_off: 80,
} as const;

/** struct io_sqring_offsets, in bytes. */
export const IO_SQRING_OFFSETS = {
  head: 0,
  tail: 4,
  ring_mask: 8,
  ring_entries: 12,
  flags: 16,
  dropped: 20,
  array: 24,
} as const;

/** struct io_cqring_offsets, in bytes. */
export const IO_CQRING_OFFSETS = {
  head: 0,
  tail: 4,
  ring_mask: 8,
  ring_entries: 12,
  overflow: 16,
  cqes: 20,
  flags: 24,
} as const;

/** struct io_uring_sqe, in bytes. */
export const IO_URING_SQE = {
  size: 64,
  opcode: 0,
  flags: 1,
  ioprio: 2,
  fd: 4,
  off: 8,
  addr: 16,
  len: 24,
  msg_flags: 28,
  user_data: 32,
  buf_group: 40,
  file_index: 44,
} as const;

/** struct io_uring_cqe, in bytes. */
export const IO_URING_CQE = { size: 16, user_data: 0, res: 8, flags: 12 } as const;

/** struct io_uring_buf, in bytes; the ring's tail lies in the `resv` of entry 0. */
export const IO_URING_BUF = { size: 16, addr: 0, len: 8, bid: 12, resv: 14 } as const;

/** struct io_uring_buf_reg, in bytes. */
export const IO_URING_BUF_REG = { size: 40, ring_addr: 0, ring_entries: 8, bgid: 12 } as const;

/** struct io_uring_getevents_arg, in bytes. */
export const IO_URING_GETEVENTS_ARG = { size: 24, sigmask: 0, sigmask_sz: 8, min_wait_usec: 12, ts: 16 } as const;

/** struct io_uring_recvmsg_out, in bytes. */
export const IO_URING_RECVMSG_OUT = { size: 16, namelen: 0, controllen: 4, payloadlen: 8, flags: 12 } as const;

/** struct io_uring_rsrc_update, in bytes. */
export const IO_URING_RSRC_UPDATE = { size: 16, offset: 0, data: 8 } as const;
