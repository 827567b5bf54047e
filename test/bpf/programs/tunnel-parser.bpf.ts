/**
 * Counts by tenant what VXLAN (RFC 7348) and GRE with a key (RFC 2890) carry, by the type of the inner packet.
 */
import {
  be32,
  ETH_P_IP,
  Ethernet,
  Gre,
  hash,
  IPPROTO_GRE,
  IPPROTO_UDP,
  Ipv4,
  local,
  packet,
  struct,
  TC_ACT_OK,
  TC_ACT_SHOT,
  tc,
  Udp,
  u8,
  u16,
  u32,
  u64,
  type Value,
  Vxlan,
} from '../../../src/bpf/library/index.ts';
import { Counters } from './shared.bpf.ts';

const CHECKSUM = 0x8000;
const KEY = 0x2000;
const SEQUENCE = 0x1000;
const VERSION = 0x0007;
const VXLAN_PORT = 4789;
const VXLAN_VALID = 0x08000000;
const TYPE_ETHERNET = 0x6558;

const Tenant = struct({ network: u32, type: u16, protocol: u8, tunnel: u8 });
type Tenant = Value<typeof Tenant>;

export const tenants = hash({ key: Tenant, value: Counters, maxEntries: 1024 });

function count(tenant: Tenant, length: u32): void {
  const known = tenants.lookup(tenant);
  if (known === null) {
    tenants.update(tenant, { packets: 1n, bytes: u64(length) });
  } else {
    known.packets += 1n;
    known.bytes += u64(length);
  }
}

export const tunnelParser = tc((context) => {
  const outer = packet(context, Ethernet, 0);
  const ip = packet(context, Ipv4, Ethernet.size);
  if (outer === null || ip === null || outer.protocol !== ETH_P_IP || ip.headerLength !== 5) return TC_ACT_OK;
  const tenant = local(Tenant);
  let offset: u32 = Ethernet.size + Ipv4.size;
  let type: u16 = TYPE_ETHERNET;
  if (ip.protocol === IPPROTO_GRE) {
    const gre = packet(context, Gre, offset);
    if (gre === null) return TC_ACT_SHOT;
    const flags = gre.flags;
    if (flags & VERSION || !(flags & KEY)) return TC_ACT_OK;
    type = gre.protocol;
    offset += Gre.size;
    if (flags & CHECKSUM) offset += 4;
    const key = packet(context, be32, offset);
    if (key === null) return TC_ACT_SHOT;
    tenant.network = key.value;
    tenant.tunnel = 1;
    offset += flags & SEQUENCE ? 8 : 4;
  } else if (ip.protocol === IPPROTO_UDP) {
    const udp = packet(context, Udp, offset);
    const vxlan = packet(context, Vxlan, offset + Udp.size);
    if (udp === null || vxlan === null || udp.destination !== VXLAN_PORT || !(vxlan.flags & VXLAN_VALID)) {
      return TC_ACT_OK;
    }
    tenant.network = vxlan.identifier >>> 8;
    tenant.tunnel = 2;
    offset += Udp.size + Vxlan.size;
  } else {
    return TC_ACT_OK;
  }
  if (type === TYPE_ETHERNET) {
    const ethernet = packet(context, Ethernet, offset);
    if (ethernet === null) return TC_ACT_SHOT;
    type = ethernet.protocol;
    offset += Ethernet.size;
  }
  if (type === ETH_P_IP) {
    const inner = packet(context, Ipv4, offset);
    if (inner === null) return TC_ACT_SHOT;
    tenant.protocol = inner.protocol;
  }
  tenant.type = type;
  count(tenant, context.len);
  return TC_ACT_OK;
});
