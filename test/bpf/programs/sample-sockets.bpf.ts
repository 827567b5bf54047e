/**
 * Programs at sockets and in cgroups: each kind with what its context offers.
 */
import {
  AF_INET,
  array,
  BPF_F_CURRENT_NETNS,
  BPF_F_INGRESS,
  BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB,
  bpf_bind,
  bpf_fib_lookup,
  bpf_fib_lookup_struct,
  bpf_get_socket_cookie,
  bpf_setsockopt,
  bpf_sk_assign,
  bpf_sk_lookup_tcp,
  bpf_sk_release,
  bpf_sysctl_get_name,
  bpf_tcp_sock,
  cgroupConnect4,
  cgroupDevice,
  cgroupGetsockopt,
  cgroupSetsockopt,
  cgroupSkbEgress,
  cgroupSockCreate,
  cgroupSysctl,
  flowDissector,
  kernelStruct,
  local,
  lwtXmit,
  netfilter,
  packet,
  reuseportSocketArray,
  SK_DROP,
  SK_PASS,
  SO_MARK,
  SOL_SOCKET,
  SocketTuple4,
  skLookup,
  skMsg,
  skReuseport,
  skSkbParser,
  skSkbVerdict,
  socketFilter,
  socketHash,
  socketMap,
  sockOps,
  struct,
  structOps,
  swap16,
  TC_ACT_OK,
  Tcp,
  tc,
  u8,
  u32,
  type Value,
} from '../../../src/bpf/library/index.ts';

const Peer = struct({ address: u32, port: u32 });
const tcp_sock = kernelStruct('tcp_sock', { snd_cwnd: u32 });
type TcpSock = Value<typeof tcp_sock>;

export const peers = socketHash({ key: Peer, maxEntries: 1024 });
export const listeners = socketMap({ maxEntries: 16 });
export const workers = reuseportSocketArray({ maxEntries: 8 });

export const events = sockOps((context) => {
  if (context.op !== BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB || context.family !== AF_INET) return;
  peers.add(context, { address: context.remote_ip4, port: context.remote_port }, 0);
  context.reply = 1;
});

export const messages = skMsg((context) => {
  if (context.size === 0) return SK_DROP;
  return peers.redirectMessage(context, { address: context.remote_ip4, port: 1 }, BPF_F_INGRESS);
});

export const parser = skSkbParser((context) => context.len);
export const verdict = skSkbVerdict((context) => listeners.redirect(context, 0, 0));

export const steer = skLookup((context) => {
  const socket = listeners.lookup(context.local_port);
  if (socket === null) return SK_PASS;
  const result = bpf_sk_assign(context, socket, 0);
  bpf_sk_release(socket);
  return result === 0 ? SK_PASS : SK_DROP;
});

export const choose = skReuseport((context) => {
  const tcp = packet(context, Tcp, 0);
  if (tcp === null || tcp.destination !== 443) return SK_DROP;
  return workers.select(context, context.hash % 8, 0) === 0 ? SK_PASS : SK_DROP;
});

export const rewrite = cgroupConnect4((context) => {
  context.user_ip4 = 0x7f000001;
  context.user_port = swap16(8080);
  const address = local(struct({ family: u32, rest: array(u8, 12) }));
  return bpf_bind(context, address) === 0 ? 1 : 0;
});

export const create = cgroupSockCreate((socket) => {
  socket.mark = 7;
  return 1;
});

export const egress = cgroupSkbEgress((context) => {
  const tuple = local(SocketTuple4, { sport: 80 });
  const socket = bpf_sk_lookup_tcp(context, tuple, BPF_F_CURRENT_NETNS);
  if (socket === null) return 1;
  const counters = bpf_tcp_sock(socket);
  const isSlow = counters !== null && counters.srtt_us > 8000;
  bpf_sk_release(socket);
  return isSlow ? 0 : 1;
});

export const option = cgroupGetsockopt((context) => {
  context.retval = 0;
  return context.optlen > 0 ? 1 : 0;
});

export const mark = cgroupSetsockopt((context) => {
  const value = local(u32, 5);
  bpf_setsockopt(context.sk, SOL_SOCKET, SO_MARK, value);
  context.optlen = -1;
  return 1;
});

export const sysctl = cgroupSysctl((context) => {
  const name = local(array(u8, 32));
  return context.write === 0 || bpf_sysctl_get_name(context, name) > 0 ? 1 : 0;
});

export const device = cgroupDevice((context) => (context.major === 1 ? 1 : 0));

export const route = tc((context) => {
  const question = local(bpf_fib_lookup_struct, { family: AF_INET, ifindex: context.ingress_ifindex });
  question.ipv4_dst = 0x0a000001;
  return bpf_fib_lookup(context, question, 0) === 0 ? TC_ACT_OK : 2;
});

export const keep = socketFilter((context) => (bpf_get_socket_cookie(context) === 0n ? 0 : context.len));
export const dissect = flowDissector((context) => (context.flow_keys.nhoff > 0 ? 129 : 0));
export const tunnel = lwtXmit((context) => (context.mark === 0 ? 0 : 2));
export const hook = netfilter((context) => (context.skb === null ? 0 : 1));

export const control = structOps('tcp_congestion_ops', {
  name: 'sample',
  ssthresh: (socket: TcpSock) => socket.snd_cwnd >> 1,
  undo_cwnd: (socket: TcpSock) => socket.snd_cwnd,
  cong_avoid(socket: TcpSock, _ack: u32, acked: u32) {
    socket.snd_cwnd += acked;
  },
});
