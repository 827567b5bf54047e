/**
 * Gives connections to a range of ports, on any address, to one listening socket; some ports are closed.
 */
import {
  atomicAdd,
  bpf_sk_assign,
  bpf_sk_release,
  hash,
  IPPROTO_UDP,
  readOnly,
  SK_DROP,
  SK_PASS,
  skLookup,
  socketMap,
  u32,
  u64,
} from '../../../src/bpf/library/index.ts';

export const firstPort = readOnly(u32, 8000);
export const lastPort = readOnly(u32, 8999);
export const listeners = socketMap({ maxEntries: 2 });
export const closedPorts = hash({ key: u32, value: u64, maxEntries: 64 });

export const lookupSteering = skLookup((context) => {
  const port = context.local_port;
  if (port < firstPort.value || port > lastPort.value) return SK_PASS;
  const refused = closedPorts.lookup(port);
  if (refused !== null) {
    atomicAdd(refused, 'value', 1n);
    return SK_DROP;
  }
  const socket = listeners.lookup(context.protocol === IPPROTO_UDP ? 1 : 0);
  if (socket === null) return SK_PASS;
  const result = bpf_sk_assign(context, socket, 0);
  bpf_sk_release(socket);
  return result === 0 ? SK_PASS : SK_DROP;
});
