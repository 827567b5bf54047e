/**
 * Follows TCP connections of a cgroup from establishment to close, with what they sent and received.
 */
import {
  AF_INET,
  array,
  atomicAdd,
  BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB,
  BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB,
  BPF_SOCK_OPS_RTT_CB,
  BPF_SOCK_OPS_RTT_CB_FLAG,
  BPF_SOCK_OPS_STATE_CB,
  BPF_SOCK_OPS_STATE_CB_FLAG,
  BPF_TCP_CLOSE,
  bpf_ktime_get_ns,
  type bpf_sock_ops,
  bpf_sock_ops_cb_flags_set,
  hash,
  local,
  sockOps,
  struct,
  u32,
  u64,
  type Value,
} from '../../../src/bpf/library/index.ts';
import { Counters } from './shared.bpf.ts';

const Connection = struct({ local: u32, remote: u32, localPort: u32, remotePort: u32 });
type Connection = Value<typeof Connection>;
const State = struct({ begunNs: u64, received: u64, acknowledged: u64, roundTripUs: u32, passive: u32 });

export const connections = hash({ key: Connection, value: State, maxEntries: 1024 });
export const closed = array({ value: Counters, maxEntries: 1 });

function established(context: bpf_sock_ops, key: Connection, passive: u32): void {
  const state = local(State, { begunNs: bpf_ktime_get_ns(), roundTripUs: context.srtt_us >> 3, passive });
  connections.update(key, state);
  bpf_sock_ops_cb_flags_set(context, BPF_SOCK_OPS_STATE_CB_FLAG | BPF_SOCK_OPS_RTT_CB_FLAG);
}

function closing(context: bpf_sock_ops, key: Connection): void {
  if (context.args[1] !== BPF_TCP_CLOSE) return;
  const total = closed.lookup(0);
  if (total !== null) {
    atomicAdd(total, 'packets', 1n);
    atomicAdd(total, 'bytes', context.bytes_received + context.bytes_acked);
  }
  connections.delete(key);
}

export const connectionTracking = sockOps((context) => {
  if (context.family !== AF_INET) return 1;
  const key = local(Connection, {
    local: context.local_ip4,
    remote: context.remote_ip4,
    localPort: context.local_port,
    remotePort: context.remote_port,
  });
  switch (context.op) {
    case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
      established(context, key, 0);
      break;
    case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
      established(context, key, 1);
      break;
    case BPF_SOCK_OPS_RTT_CB: {
      const state = connections.lookup(key);
      if (state !== null) {
        state.roundTripUs = context.srtt_us >> 3;
        state.received = context.bytes_received;
        state.acknowledged = context.bytes_acked;
      }
      break;
    }
    case BPF_SOCK_OPS_STATE_CB:
      closing(context, key);
      break;
  }
  return 1;
});
