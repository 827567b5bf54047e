/**
 * One map of many a kind, each used as programs use it: what the declarations of `millrace/bpf` say of keys, values and methods.
 */
import {
  array,
  arrayOfMaps,
  BPF_ANY,
  BPF_F_CURRENT_CPU,
  BPF_LOCAL_STORAGE_GET_F_CREATE,
  BPF_NOEXIST,
  BPF_RB_NO_WAKEUP,
  be32,
  bloomFilter,
  deviceMap,
  global,
  hash,
  local,
  lpmTrie,
  lruHash,
  perCpuArray,
  perfEventArray,
  programArray,
  queue,
  readOnly,
  ringBuffer,
  socketStorage,
  stackTrace,
  struct,
  TC_ACT_OK,
  tailCall,
  tc,
  tcxIngress,
  u8,
  u16,
  u32,
  u64,
  type Value,
  XDP_PASS,
  xdp,
} from '../../../src/bpf/library/index.ts';

export const Flow = struct({ source: be32, destination: be32, port: u16, protocol: u8 });
export type Flow = Value<typeof Flow>;
export const Counters = struct({ packets: u64, bytes: u64, sizes: array(u32, 4) });
const Prefix = struct({ prefixLength: u32, address: be32 });
const Event = struct({ flow: Flow, length: u32 });

export const limit = readOnly(u32, 100);
export const seen = global(u64, 0n);
export const total = global(Counters);

export const flows = lruHash({ key: Flow, value: Counters, maxEntries: 1024 });
export const perPort = perCpuArray({ value: u64, maxEntries: 65_536 });
export const prefixes = lpmTrie({ key: Prefix, value: u32, maxEntries: 128 });
export const events = ringBuffer({ value: Event, maxEntries: 65_536 });
export const samples = perfEventArray({ value: Event });
export const next = programArray({ maxEntries: 4 });
export const inner = hash({ key: u32, value: u64, maxEntries: 16 });
export const tenants = arrayOfMaps({ value: inner, maxEntries: 8 });
export const ports = deviceMap({ maxEntries: 16 });
export const waiting = queue({ value: Flow, maxEntries: 64 });
export const known = bloomFilter({ value: u32, maxEntries: 1000, hashes: 3 });
export const beside = socketStorage({ value: Counters });
export const stacks = stackTrace({ value: array(u64, 32), maxEntries: 16 });

function count(flow: Flow, length: u32): void {
  const counters = flows.lookup(flow);
  if (counters === null) {
    flows.update(flow, { packets: 1n, bytes: u64(length), sizes: [0, 0, 0, 0] }, BPF_NOEXIST);
    return;
  }
  counters.packets += 1n;
  counters.bytes += u64(length);
  counters.sizes[length > 512 ? 1 : 0] += 1;
}

export const observe = tc((context) => {
  const flow = local(Flow, { source: context.hash, port: 80 });
  count(flow, context.len);
  seen.value += 1n;
  total.value.packets += 1n;
  if (context.len > limit.value) return TC_ACT_OK;

  const perCpu = perPort.lookup(flow.port);
  if (perCpu !== null) perCpu.value += 1n;
  const other = perPort.lookupOn(flow.port, 1);
  if (other !== null) seen.value += other.value;
  const verdict = prefixes.lookup({ prefixLength: 32, address: flow.source });
  if (verdict !== null && verdict.value === 1) return TC_ACT_OK;

  const event = events.reserve(Event);
  if (event !== null) {
    event.flow = flow;
    event.length = context.len;
    events.submit(event, BPF_RB_NO_WAKEUP);
  }
  samples.output(context, BPF_F_CURRENT_CPU, flow);
  const tenant = tenants.lookup(3);
  if (tenant !== null) {
    const value = tenant.lookup(7);
    if (value !== null) value.value = 0n;
  }
  if (waiting.push(flow, BPF_ANY) === 0 && waiting.pop(flow) !== 0) return TC_ACT_OK;
  if (known.has(flow.source) !== 0) known.push(flow.source);
  tailCall(context, next, 2);
  return TC_ACT_OK;
});

export const remember = tcxIngress((context) => {
  const { sk } = context;
  if (sk === null) return TC_ACT_OK;
  const counters = beside.get(sk, null, BPF_LOCAL_STORAGE_GET_F_CREATE);
  if (counters !== null) counters.packets += 1n;
  return TC_ACT_OK;
});

export const forward = xdp((context) => ports.redirect(context.ingress_ifindex, XDP_PASS));
