/**
 * TCP congestion controls in TypeScript: one that keeps the window that user space says, one that does as Reno does with the kernel's
 * own functions.
 *
 * A newcomer would get wrong: the kernel calls these for every connection that chose them, wherever it is; state of one connection lies in
 * the 104 bytes that each socket has for that (icsk_ca_priv), or beside it in a storage map.
 */
import {
  Ethernet,
  global,
  IPPROTO_TCP,
  Ipv4,
  i32,
  kernelFunction,
  kernelStruct,
  packet,
  pointer,
  struct,
  structOps,
  TCX_DROP,
  TCX_NEXT,
  tcxEgress,
  u32,
  u64,
  type Value,
} from '../../../src/bpf/library/index.ts';

const tcp_sock = kernelStruct('tcp_sock', {
  snd_cwnd: u32,
  snd_ssthresh: u32,
});
type TcpSock = Value<typeof tcp_sock>;
const ack_sample = kernelStruct('ack_sample', { pkts_acked: u32, rtt_us: i32, in_flight: u32 });

/** What happens to the connections of one control. */
const Calls = struct({ init: u32, release: u32, avoid: u32, ssthresh: u32, events: u32, acked: u64 });
export const fixedCalls = global(Calls);
export const renoCalls = global(Calls);

/** Segments in flight, whatever happens: for links that are known. */
export const fixedWindow = global(u32, 4);

export const fixed = structOps('tcp_congestion_ops', {
  name: 'millrace_fixed',
  init(socket: TcpSock) {
    fixedCalls.value.init += 1;
    socket.snd_cwnd = fixedWindow.value;
  },
  release(_socket: TcpSock) {
    fixedCalls.value.release += 1;
  },
  ssthresh: (_socket: TcpSock) => fixedWindow.value,
  undo_cwnd: (_socket: TcpSock) => fixedWindow.value,
  cong_avoid(socket: TcpSock, _ack: u32, acked: u32) {
    fixedCalls.value.avoid += 1;
    fixedCalls.value.acked += u64(acked);
    socket.snd_cwnd = fixedWindow.value;
  },
  pkts_acked(_socket: TcpSock, sample: Value<typeof ack_sample>) {
    if (sample.rtt_us >= 0) fixedCalls.value.events += 1;
  },
});

const slowStart = kernelFunction('tcp_slow_start', [pointer(tcp_sock), u32], u32);
const avoidAdditively = kernelFunction('tcp_cong_avoid_ai', [pointer(tcp_sock), u32, u32], null);
const renoUndo = kernelFunction('tcp_reno_undo_cwnd', [pointer(tcp_sock)], u32);

/** RFC 5681: doubling up to the threshold, one segment for each round trip beyond, half of it after a loss. */
export const reno = structOps('tcp_congestion_ops', {
  name: 'millrace_reno',
  init(_socket: TcpSock) {
    renoCalls.value.init += 1;
  },
  ssthresh(socket: TcpSock) {
    renoCalls.value.ssthresh += 1;
    return socket.snd_cwnd > 4 ? socket.snd_cwnd >> 1 : 2;
  },
  undo_cwnd: (socket: TcpSock) => renoUndo(socket),
  cong_avoid(socket: TcpSock, _ack: u32, acked: u32) {
    renoCalls.value.avoid += 1;
    let rest = acked;
    if (socket.snd_cwnd < socket.snd_ssthresh) {
      rest = slowStart(socket, rest);
      if (rest === 0) return;
    }
    avoidAdditively(socket, socket.snd_cwnd, rest);
  },
});

export const dropped = global(u32);
export const sent = global(u32);
export const lossEvery = global(u32);

/** Loses one in so many buffers with data, in the place of netem, which not every kernel has. */
export const lose = tcxEgress((context) => {
  const ip = packet(context, Ipv4, Ethernet.size);
  if (ip === null || ip.protocol !== IPPROTO_TCP || context.len < 1000 || lossEvery.value === 0) return TCX_NEXT;
  sent.value += 1;
  if (sent.value % lossEvery.value !== 0) return TCX_NEXT;
  dropped.value += 1;
  return TCX_DROP;
});
