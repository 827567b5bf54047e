/**
 * Programs at sockets: events of TCP connections with options in their headers, messages and streams that go from one socket to another
 * within the kernel, and the choice of the socket that takes a packet.
 */
import {
  AF_INET,
  array,
  atomicAdd,
  BPF_F_INGRESS,
  BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB,
  BPF_SOCK_OPS_HDR_OPT_LEN_CB,
  BPF_SOCK_OPS_PARSE_HDR_OPT_CB,
  BPF_SOCK_OPS_PARSE_UNKNOWN_HDR_OPT_CB_FLAG,
  BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB,
  BPF_SOCK_OPS_STATE_CB,
  BPF_SOCK_OPS_STATE_CB_FLAG,
  BPF_SOCK_OPS_TCP_CONNECT_CB,
  BPF_SOCK_OPS_TCP_LISTEN_CB,
  BPF_SOCK_OPS_WRITE_HDR_OPT_CB,
  BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG,
  BPF_TCP_CLOSE,
  be16,
  be32,
  bpf_load_hdr_opt,
  bpf_msg_push_data,
  bpf_reserve_hdr_opt,
  bpf_setsockopt,
  bpf_sk_assign,
  bpf_sk_release,
  bpf_skb_load_bytes,
  bpf_sock_ops_cb_flags_set,
  bpf_store_hdr_opt,
  bpf_tcp_sock,
  global,
  IPPROTO_UDP,
  local,
  packed,
  packet,
  readOnly,
  reuseportSocketArray,
  SK_DROP,
  SK_PASS,
  SOL_TCP,
  skLookup,
  skMsg,
  skReuseport,
  skReuseportMigrate,
  skSkb,
  skSkbParser,
  skSkbVerdict,
  socketHash,
  socketMap,
  sockOps,
  struct,
  TCP_USER_TIMEOUT,
  Tcp,
  Udp,
  u8,
  u16,
  u32,
  u64,
} from '../../../src/bpf/library/index.ts';

const Events = struct({ connect: u32, active: u32, passive: u32, listen: u32, closed: u32, bytesAcked: u64 });
export const events = global(Events);
export const port = readOnly(u16, 0);

/** Counts what happens to connections of one port, and what the closed ones have sent. */
export const follow = sockOps((context) => {
  switch (context.op) {
    case BPF_SOCK_OPS_TCP_LISTEN_CB:
      events.value.listen += 1;
      break;
    case BPF_SOCK_OPS_TCP_CONNECT_CB:
      if (context.remote_port === port.value) events.value.connect += 1;
      break;
    case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB: {
      if (context.remote_port !== port.value) break;
      events.value.active += 1;
      const timeout = local(u32, 4321);
      bpf_setsockopt(context, SOL_TCP, TCP_USER_TIMEOUT, timeout);
      bpf_sock_ops_cb_flags_set(context, BPF_SOCK_OPS_STATE_CB_FLAG);
      break;
    }
    case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
      if (context.local_port === port.value && context.family === AF_INET) events.value.passive += 1;
      break;
    case BPF_SOCK_OPS_STATE_CB: {
      if (context.args[1] !== BPF_TCP_CLOSE) break;
      events.value.closed += 1;
      const { sk } = context;
      if (sk === null) break;
      const counters = bpf_tcp_sock(sk);
      if (counters !== null) events.value.bytesAcked += counters.bytes_acked;
      break;
    }
  }
});

/** An experimental option (RFC 6994): its kind, its length, a number that tells experiments apart, and what is told. */
const TaggedOption = packed({ kind: u8, length: u8, experiment: be16, tag: be32 });
const KIND = 253;
const EXPERIMENT = 0xeb9f;

export const tag = readOnly(u32, 0);
export const heard = global(u32);
export const heardPort = global(u16);

/** Clients write a tag into the headers of what they send; servers read it there. */
export const tagHeaders = sockOps((context) => {
  switch (context.op) {
    case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
      bpf_sock_ops_cb_flags_set(context, BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG);
      break;
    case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
      bpf_sock_ops_cb_flags_set(context, BPF_SOCK_OPS_PARSE_UNKNOWN_HDR_OPT_CB_FLAG);
      break;
    case BPF_SOCK_OPS_HDR_OPT_LEN_CB:
      bpf_reserve_hdr_opt(context, TaggedOption.size);
      break;
    case BPF_SOCK_OPS_WRITE_HDR_OPT_CB: {
      const option = local(TaggedOption, {
        kind: KIND,
        length: TaggedOption.size,
        experiment: EXPERIMENT,
        tag: tag.value,
      });
      bpf_store_hdr_opt(context, option);
      break;
    }
    case BPF_SOCK_OPS_PARSE_HDR_OPT_CB: {
      const tcp = packet(context, Tcp, 0);
      if (tcp === null) break;
      const source = tcp.source;
      // The helper looks for what begins like this, and fills in the rest.
      const option = local(TaggedOption, { kind: KIND, length: 4, experiment: EXPERIMENT });
      if (bpf_load_hdr_opt(context, option) !== TaggedOption.size) break;
      heard.value = option.tag;
      heardPort.value = source;
      break;
    }
  }
});

const Peer = struct({ local: u32, remote: u32 });
export const peers = socketHash({ key: Peer, maxEntries: 16 });

/** Puts both ends of connections of one port into the table, by their ports. */
export const collect = sockOps((context) => {
  if (context.op !== BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB && context.op !== BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB) return;
  if (context.remote_port !== port.value && context.local_port !== port.value) return;
  peers.add(context, { local: context.local_port, remote: context.remote_port }, 0);
});

export const shortCuts = global(u32);

/** What one end sends goes to the other end's ear, past the whole of TCP. */
export const shortCut = skMsg((context) => {
  shortCuts.value += 1;
  return peers.redirectMessage(context, { local: context.remote_port, remote: context.local_port }, BPF_F_INGRESS);
});

export const sockets = socketMap({ maxEntries: 4 });

/** Puts two bytes in front of every message, with its length before, and drops empty and forbidden ones. */
export const frame = skMsg((context) => {
  const first = packet(context, u8, 0);
  if (first === null || first.value === 0x21) return SK_DROP;
  const length = context.size;
  if (bpf_msg_push_data(context, 0, 2) !== 0) return SK_DROP;
  const header = packet(context, be16, 0);
  if (header === null) return SK_DROP;
  header.value = u16(length);
  return SK_PASS;
});

/** A message is its length in two bytes and so many more. */
export const parseMessages = skSkbParser((context) => {
  const length = local(be16);
  if (context.len < 2 || bpf_skb_load_bytes(context, 0, length) !== 0) return 0;
  return length.value + 2;
});

export const messages = global(array(u32, 4));

/** Whole messages: their first byte says to which socket's peer they go. */
export const route = skSkbVerdict((context) => {
  const first = local(u8);
  if (bpf_skb_load_bytes(context, 2, first) !== 0) return SK_DROP;
  const index = first.value & 3;
  messages.value[index] += 1;
  return sockets.redirect(context, index, 0);
});

export const judged = global(u64);

/** Without a parser: whatever has come. */
export const judge = skSkb((context) => {
  atomicAdd(judged, 'value', u64(context.len));
  return context.len > 10 ? SK_DROP : SK_PASS;
});

export const firstPort = readOnly(u32, 0);
export const lastPort = readOnly(u32, 0);

/** One socket takes what comes for a range of ports: TCP at 0, UDP at 1. */
export const takeRange = skLookup((context) => {
  if (context.local_port < firstPort.value || context.local_port > lastPort.value) return SK_PASS;
  const socket = sockets.lookup(context.protocol === IPPROTO_UDP ? 1 : 0);
  if (socket === null) return SK_DROP;
  const result = bpf_sk_assign(context, socket, 0);
  bpf_sk_release(socket);
  return result === 0 ? SK_PASS : SK_DROP;
});

export const workers = reuseportSocketArray({ maxEntries: 4 });

/** The first byte of a datagram says which of the sockets takes it. */
export const chooseWorker = skReuseport((context) => {
  const first = packet(context, u8, Udp.size);
  if (first === null) return SK_DROP;
  return workers.select(context, first.value % 4, 0) === 0 ? SK_PASS : SK_DROP;
});

export const migrated = global(u32);

/** New connections go to the first listener; those that it leaves behind when it closes go to the second. */
export const inherit = skReuseportMigrate((context) => {
  const index = context.migrating_sk === null ? 0 : 1;
  migrated.value += index;
  return workers.select(context, index, 0) === 0 ? SK_PASS : SK_DROP;
});
