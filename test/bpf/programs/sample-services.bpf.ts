/**
 * Programs as a newcomer writes them from the guide: limits, sessions with timers, commands from user space, connections that are led
 * elsewhere, callbacks and atomic steps. No form is here for its own sake.
 */
import {
  array,
  atomicCompareExchange,
  atomicExchange,
  atomicOr,
  BPF_NOEXIST,
  be32,
  bpf_dynptr_read,
  bpf_get_current_comm,
  bpf_get_current_uid_gid,
  bpf_get_socket_cookie,
  bpf_ktime_get_ns,
  bpf_loop,
  bpf_spin_lock,
  bpf_spin_unlock,
  bpf_timer_init,
  bpf_timer_set_callback,
  bpf_timer_start,
  CLOCK_MONOTONIC,
  cgroupConnect4,
  cgroupConnect6,
  cgroupGetpeername4,
  cgroupSendmsg4,
  Ethernet,
  equal,
  global,
  hash,
  Ipv4,
  type i32,
  ipv4,
  ipv6,
  local,
  lruHash,
  packet,
  type Reference,
  readOnly,
  SOCK_STREAM,
  spinLock,
  struct,
  swap16,
  syscall,
  TCX_DROP,
  TCX_NEXT,
  tcxEgress,
  timer,
  u8,
  u16,
  u32,
  u64,
  userRingBuffer,
  type Value,
  XDP_DROP,
  XDP_PASS,
  xdp,
} from '../../../src/bpf/library/index.ts';

const Bucket = struct({ lock: spinLock, tokens: u64, last: u64, dropped: u64 });
export const buckets = hash({ key: u32, value: Bucket, maxEntries: 4096 });
export const bytesPerSecond = readOnly(u64, 1_000_000n);
export const burst = readOnly(u64, 64_000n);
const SECOND = 1_000_000_000n;
export const limit = tcxEgress((context) => {
  const ip = packet(context, Ipv4, Ethernet.size);
  if (ip === null) return TCX_NEXT;
  const now = bpf_ktime_get_ns();
  let bucket = buckets.lookup(ip.destination);
  if (bucket === null) {
    buckets.update(ip.destination, { lock: {}, tokens: burst.value, last: now, dropped: 0n }, BPF_NOEXIST);
    bucket = buckets.lookup(ip.destination);
    if (bucket === null) return TCX_NEXT;
  }
  const length = u64(context.len);
  let verdict: i32 = TCX_NEXT;
  bpf_spin_lock(bucket.lock);
  const elapsed = now - bucket.last;
  let tokens = bucket.tokens + (elapsed * bytesPerSecond.value) / SECOND;
  if (tokens > burst.value) tokens = burst.value;
  if (tokens >= length) tokens -= length;
  else {
    verdict = TCX_DROP;
    bucket.dropped += 1n;
  }
  bucket.tokens = tokens;
  bucket.last = now;
  bpf_spin_unlock(bucket.lock);
  return verdict;
});
const Session = struct({ timer: timer, last: u64, packets: u64 });
type Session = Value<typeof Session>;
export const sessions = hash({ key: u32, value: Session, maxEntries: 1000 });
export const expired = global(u64);
const IDLE = 30_000_000_000n;
function onIdle(_map: typeof sessions, key: Reference<u32>, session: Session): number {
  const idle = bpf_ktime_get_ns() - session.last;
  if (idle >= IDLE) {
    expired.value += 1n;
    sessions.delete(key.value);
  } else bpf_timer_start(session.timer, IDLE - idle, 0n);
  return 0;
}
export const track = xdp((context) => {
  const ip = packet(context, Ipv4, Ethernet.size);
  if (ip === null) return XDP_PASS;
  let session = sessions.lookup(ip.source);
  if (session === null) {
    sessions.update(ip.source, { timer: {}, last: 0n, packets: 0n }, BPF_NOEXIST);
    session = sessions.lookup(ip.source);
    if (session === null) return XDP_PASS;
    if (bpf_timer_init(session.timer, sessions, CLOCK_MONOTONIC) === 0) {
      bpf_timer_set_callback(session.timer, onIdle);
      bpf_timer_start(session.timer, IDLE, 0n);
    }
  }
  session.last = bpf_ktime_get_ns();
  session.packets++;
  return XDP_PASS;
});
const Command = struct({ kind: u32, key: u32, value: u64 });
export const commands = userRingBuffer({ maxEntries: 4096 });
export const commandTable = hash({ key: u32, value: u64, maxEntries: 100 });
export const handled = global(u64);
const Drained = struct({ count: u32 });
const Arguments = struct({ limit: u32 });
export const run = syscall((context: Value<typeof Arguments>) => {
  const state = local(Drained);
  commands.drain((record, state) => {
    const command = local(Command);
    if (bpf_dynptr_read(command, record, 0, 0) < 0) return 1;
    if (command.kind === 1) commandTable.update(command.key, command.value);
    else if (command.kind === 2) commandTable.delete(command.key);
    state.count++;
    return 0;
  }, state);
  handled.value += u64(state.count);
  context.limit = state.count;
  return 0;
});
const Service = struct({ address: be32, port: u16 });
export const services = hash({ key: Service, value: Service, maxEntries: 128 });
export const original = lruHash({ key: u64, value: Service, maxEntries: 65536 });
const LOOPBACK = ipv4('127.0.0.1');
export const denied = hash({ key: u32, value: u64, maxEntries: 16 });
export const names = hash({ key: array(u8, 16), value: u64, maxEntries: 16 });

export const connect4 = cgroupConnect4((context) => {
  if (context.type !== SOCK_STREAM) return 1;
  const port = swap16(context.user_port);
  const uid = u32(bpf_get_current_uid_gid());
  const no = denied.lookup(uid);
  if (no !== null) {
    no.value++;
    return 0;
  }
  const comm = local(array(u8, 16));
  bpf_get_current_comm(comm);
  const named = names.lookup(comm.value);
  if (named) named.value += 1n;
  const service = services.lookup({ address: context.user_ip4, port });
  if (service === null) return 1;
  original.update(bpf_get_socket_cookie(context), { address: context.user_ip4, port });
  context.user_ip4 = service.address;
  context.user_port = swap16(service.port);
  return 1;
});
export const peer4 = cgroupGetpeername4((context) => {
  const before = original.lookup(bpf_get_socket_cookie(context));
  if (before === null) return 1;
  context.user_ip4 = before.address;
  context.user_port = swap16(before.port);
  return 1;
});
export const connect6 = cgroupConnect6((context) => {
  if (equal(context.user_ip6, ipv6('2001:db8::1'))) {
    context.user_ip6 = ipv6('::1');
    context.user_port = swap16(8080);
  }
  if (context.user_ip6[0] === 0 && context.user_ip6[3] === LOOPBACK) return 0;
  return 1;
});
export const send4 = cgroupSendmsg4((context) => {
  if (context.msg_src_ip4 === 0) context.msg_src_ip4 = LOOPBACK;
  return 1;
});
const State = struct({ sum: u64, best: u32, words: array(u32, 8) });
type State = Value<typeof State>;
export const table = array({ value: u64, maxEntries: 1024 });
export const owner = global(u64);
export const queues = global(u32);
function step(index: u32, state: State): number {
  const entry = table.lookup(index);
  if (entry === null) return 1;
  state.sum += entry.value;
  if (entry.value > 100n) state.best = index;
  state.words[index & 7]++;
  return 0;
}
export const scan = xdp((context) => {
  const state = local(State);
  const turns = bpf_loop(1024, step, state);
  if (turns < 0) return XDP_PASS;
  const mine = u64(context.rx_queue_index) + 1n;
  const before = atomicCompareExchange(owner, 'value', 0n, mine);
  if (before !== 0n && before !== mine) return XDP_PASS;
  atomicOr(queues, 'value', 1 << (context.rx_queue_index & 31));
  const last = atomicExchange(owner, 'value', 0n);
  let all: u32 = 0;
  for (const word of state.words) all += word;
  for (let i = 0; i < state.words.length; i++) all ^= state.words[i];
  return last === mine && all > 0 && state.sum > 10n ? XDP_DROP : XDP_PASS;
});
