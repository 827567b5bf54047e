/**
 * Room `bpf`: events and flags of socket and cgroup programs (include/uapi/linux/bpf.h, in.h, tcp.h, asm-generic/socket.h).
 *
 * A newcomer would get wrong: some events of sockops programs ask (BPF_SOCK_OPS_TIMEOUT_INIT and others without _CB) and take
 * `context.reply` for an answer; the others only tell, most of them only where bpf_sock_ops_cb_flags_set has asked for them.
 */
// bpf_sock_ops.op.
export const BPF_SOCK_OPS_VOID = 0;
export const BPF_SOCK_OPS_TIMEOUT_INIT = 1;
export const BPF_SOCK_OPS_RWND_INIT = 2;
export const BPF_SOCK_OPS_TCP_CONNECT_CB = 3;
export const BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB = 4;
export const BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB = 5;
export const BPF_SOCK_OPS_NEEDS_ECN = 6;
export const BPF_SOCK_OPS_BASE_RTT = 7;
export const BPF_SOCK_OPS_RTO_CB = 8;
export const BPF_SOCK_OPS_RETRANS_CB = 9;
export const BPF_SOCK_OPS_STATE_CB = 10;
export const BPF_SOCK_OPS_TCP_LISTEN_CB = 11;
export const BPF_SOCK_OPS_RTT_CB = 12;
export const BPF_SOCK_OPS_PARSE_HDR_OPT_CB = 13;
export const BPF_SOCK_OPS_HDR_OPT_LEN_CB = 14;
export const BPF_SOCK_OPS_WRITE_HDR_OPT_CB = 15;

// The same since 6.15: time stamps of what is sent.
export const BPF_SOCK_OPS_TSTAMP_SCHED_CB = 16;
export const BPF_SOCK_OPS_TSTAMP_SND_SW_CB = 17;
export const BPF_SOCK_OPS_TSTAMP_SND_HW_CB = 18;
export const BPF_SOCK_OPS_TSTAMP_ACK_CB = 19;
export const BPF_SOCK_OPS_TSTAMP_SENDMSG_CB = 20;

// bpf_sock_ops_cb_flags_set.
export const BPF_SOCK_OPS_RTO_CB_FLAG = 1;
export const BPF_SOCK_OPS_RETRANS_CB_FLAG = 2;
export const BPF_SOCK_OPS_STATE_CB_FLAG = 4;
export const BPF_SOCK_OPS_RTT_CB_FLAG = 8;
export const BPF_SOCK_OPS_PARSE_ALL_HDR_OPT_CB_FLAG = 16;
export const BPF_SOCK_OPS_PARSE_UNKNOWN_HDR_OPT_CB_FLAG = 32;
export const BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG = 64;
export const BPF_SOCK_OPS_ALL_CB_FLAGS = 127;

// Options of bpf_setsockopt and bpf_getsockopt that are for programs alone.
export const TCP_BPF_IW = 1001;
export const TCP_BPF_SNDCWND_CLAMP = 1002;
export const TCP_BPF_DELACK_MAX = 1003;
export const TCP_BPF_RTO_MIN = 1004;
export const TCP_BPF_SYN = 1005;
export const TCP_BPF_SYN_IP = 1006;
export const TCP_BPF_SYN_MAC = 1007;

// Levels and options that everybody has.
export const SOL_SOCKET = 1;
export const SOL_IP = 0;
export const SOL_TCP = 6;
export const SOL_IPV6 = 41;
export const SO_REUSEADDR = 2;
export const SO_SNDBUF = 7;
export const SO_RCVBUF = 8;
export const SO_KEEPALIVE = 9;
export const SO_PRIORITY = 12;
export const SO_RCVLOWAT = 18;
export const SO_BINDTODEVICE = 25;
export const SO_MARK = 36;
export const SO_MAX_PACING_RATE = 47;
export const IP_TOS = 1;
export const IPV6_TCLASS = 67;
export const TCP_NODELAY = 1;
export const TCP_MAXSEG = 2;
export const TCP_KEEPIDLE = 4;
export const TCP_KEEPINTVL = 5;
export const TCP_KEEPCNT = 6;
export const TCP_SYNCNT = 7;
export const TCP_WINDOW_CLAMP = 10;
export const TCP_CONGESTION = 13;
export const TCP_USER_TIMEOUT = 18;
export const TCP_NOTSENT_LOWAT = 25;
export const TCP_SAVE_SYN = 27;

// bpf_load_hdr_opt, and bpf_sock_ops.args[0] of BPF_SOCK_OPS_HDR_OPT_LEN_CB.
export const BPF_LOAD_HDR_OPT_TCP_SYN = 1;
export const BPF_WRITE_HDR_TCP_CURRENT_MSS = 1;
export const BPF_WRITE_HDR_TCP_SYNACK_COOKIE = 2;

// bpf_sk_lookup_tcp and kin: the namespace of the program.
export const BPF_F_CURRENT_NETNS = -1;

// bpf_sk_assign in look-ups.
export const BPF_SK_LOOKUP_F_REPLACE = 1;
export const BPF_SK_LOOKUP_F_NO_REUSEPORT = 2;

// bpf_sysctl_get_name.
export const BPF_F_SYSCTL_BASE_NAME = 1;

// bpf_cgroup_dev_ctx.access_type: the access in the high half, the kind in the low half.
export const BPF_DEVCG_ACC_MKNOD = 1;
export const BPF_DEVCG_ACC_READ = 2;
export const BPF_DEVCG_ACC_WRITE = 4;
export const BPF_DEVCG_DEV_BLOCK = 1;
export const BPF_DEVCG_DEV_CHAR = 2;
