/**
 * Room `bpf`: flags of helpers that change, send and look up packets (include/uapi/linux/bpf.h). A test compares each with the
 * headers.
 *
 * A newcomer would get wrong: the low 4 bits of bpf_l4_csum_replace's flags are a size in bytes; BPF_F_PSEUDO_HDR and kin lie above
 * them.
 */
// bpf_skb_store_bytes.
export const BPF_F_RECOMPUTE_CSUM = 1;
export const BPF_F_INVALIDATE_HASH = 2;

// bpf_l3_csum_replace and bpf_l4_csum_replace. BPF_F_IPV6 since 6.16.
export const BPF_F_HDR_FIELD_MASK = 15;
export const BPF_F_PSEUDO_HDR = 16;
export const BPF_F_MARK_MANGLED_0 = 32;
export const BPF_F_MARK_ENFORCE = 64;
export const BPF_F_IPV6 = 128;

// Redirects.
export const BPF_F_INGRESS = 1;
export const BPF_F_BROADCAST = 8;
export const BPF_F_EXCLUDE_INGRESS = 16;

// bpf_skb_get_tunnel_key and bpf_skb_set_tunnel_key.
export const BPF_F_TUNINFO_IPV6 = 1;
export const BPF_F_TUNINFO_FLAGS = 16;
export const BPF_F_ZERO_CSUM_TX = 2;
export const BPF_F_DONT_FRAGMENT = 4;
export const BPF_F_SEQ_NUMBER = 8;
export const BPF_F_NO_TUNNEL_KEY = 16;

// bpf_skb_adjust_room: what the room is for.
export const BPF_ADJ_ROOM_NET = 0;
export const BPF_ADJ_ROOM_MAC = 1;
export const BPF_F_ADJ_ROOM_FIXED_GSO = 1;
export const BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 = 2;
export const BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 = 4;
export const BPF_F_ADJ_ROOM_ENCAP_L4_GRE = 8;
export const BPF_F_ADJ_ROOM_ENCAP_L4_UDP = 16;
export const BPF_F_ADJ_ROOM_NO_CSUM_RESET = 32;
export const BPF_F_ADJ_ROOM_ENCAP_L2_ETH = 64;
export const BPF_F_ADJ_ROOM_DECAP_L3_IPV4 = 128;
export const BPF_F_ADJ_ROOM_DECAP_L3_IPV6 = 256;

// bpf_csum_level.
export const BPF_CSUM_LEVEL_QUERY = 0;
export const BPF_CSUM_LEVEL_INC = 1;
export const BPF_CSUM_LEVEL_DEC = 2;
export const BPF_CSUM_LEVEL_RESET = 3;

// bpf_skb_load_bytes_relative.
export const BPF_HDR_START_MAC = 0;
export const BPF_HDR_START_NET = 1;

// bpf_lwt_push_encap.
export const BPF_LWT_ENCAP_SEG6 = 0;
export const BPF_LWT_ENCAP_SEG6_INLINE = 1;
export const BPF_LWT_ENCAP_IP = 2;

// bpf_skb_set_tstamp.
export const BPF_SKB_TSTAMP_UNSPEC = 0;
export const BPF_SKB_TSTAMP_DELIVERY_MONO = 1;

// bpf_fib_lookup: flags, and what it gives.
export const BPF_FIB_LOOKUP_DIRECT = 1;
export const BPF_FIB_LOOKUP_OUTPUT = 2;
export const BPF_FIB_LOOKUP_SKIP_NEIGH = 4;
export const BPF_FIB_LOOKUP_TBID = 8;
export const BPF_FIB_LOOKUP_SRC = 16;
export const BPF_FIB_LOOKUP_MARK = 32;
export const BPF_FIB_LKUP_RET_SUCCESS = 0;
export const BPF_FIB_LKUP_RET_BLACKHOLE = 1;
export const BPF_FIB_LKUP_RET_UNREACHABLE = 2;
export const BPF_FIB_LKUP_RET_PROHIBIT = 3;
export const BPF_FIB_LKUP_RET_NOT_FWDED = 4;
export const BPF_FIB_LKUP_RET_FWD_DISABLED = 5;
export const BPF_FIB_LKUP_RET_UNSUPP_LWT = 6;
export const BPF_FIB_LKUP_RET_NO_NEIGH = 7;
export const BPF_FIB_LKUP_RET_FRAG_NEEDED = 8;
export const BPF_FIB_LKUP_RET_NO_SRC_ADDR = 9;

// bpf_check_mtu: flags, and what it gives.
export const BPF_MTU_CHK_SEGS = 1;
export const BPF_MTU_CHK_RET_SUCCESS = 0;
export const BPF_MTU_CHK_RET_FRAG_NEEDED = 1;
export const BPF_MTU_CHK_RET_SEGS_TOOBIG = 2;
