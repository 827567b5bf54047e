/**
 * Sends connections to a service's address to one of its backends, in the caller's connect() and without any NAT.
 */
import {
  array,
  atomicAdd,
  be16,
  be32,
  cgroupConnect4,
  hash,
  IPPROTO_TCP,
  struct,
  swap16,
  u16,
  u32,
  u64,
} from '../../../src/bpf/library/index.ts';

const Service = struct({ address: be32, port: be16, unused: u16 });
const Backends = struct({ count: u32, list: array(Service, 4) });

export const services = hash({ key: Service, value: Backends, maxEntries: 256 });
export const turns = array({ value: u64, maxEntries: 1 });

export const connectRewriting = cgroupConnect4((context) => {
  if (context.protocol !== IPPROTO_TCP) return 1;
  const backends = services.lookup({ address: context.user_ip4, port: swap16(context.user_port), unused: 0 });
  if (backends === null) return 1;
  if (backends.count === 0) return 0;
  const turn = turns.lookup(0);
  if (turn === null) return 0;
  const index = u32(atomicAdd(turn, 'value', 1n) % u64(backends.count));
  const backend = backends.list[index & 3];
  context.user_ip4 = backend.address;
  context.user_port = swap16(backend.port);
  return 1;
});
