/**
 * Drops what comes from prefixes that a table denies; the longest prefix decides. Counts by rule.
 */
import {
  atomicAdd,
  ETH_P_IP,
  ETH_P_IPV6,
  Ethernet,
  Ipv4,
  Ipv6,
  local,
  lpmTrie,
  packet,
  struct,
  u32,
  u64,
  type Value,
  XDP_DROP,
  XDP_PASS,
  xdp,
} from '../../../src/bpf/library/index.ts';
import { Prefix4, Prefix6 } from './shared.bpf.ts';

const Rule = struct({ hits: u64, verdict: u32, id: u32 });
type Rule = Value<typeof Rule>;

export const rules4 = lpmTrie({ key: Prefix4, value: Rule, maxEntries: 1024 });
export const rules6 = lpmTrie({ key: Prefix6, value: Rule, maxEntries: 1024 });

function apply(rule: Rule | null): u32 {
  if (rule === null) return XDP_PASS;
  atomicAdd(rule, 'hits', 1n);
  return rule.verdict;
}

export const lpmFirewall = xdp((context) => {
  const ethernet = packet(context, Ethernet, 0);
  if (ethernet === null) return XDP_DROP;
  if (ethernet.protocol === ETH_P_IP) {
    const ip = packet(context, Ipv4, Ethernet.size);
    if (ip === null) return XDP_DROP;
    return apply(rules4.lookup({ bits: 32, address: ip.source }));
  }
  if (ethernet.protocol === ETH_P_IPV6) {
    const ip = packet(context, Ipv6, Ethernet.size);
    if (ip === null) return XDP_DROP;
    const key = local(Prefix6, { bits: 128, address: ip.source });
    return apply(rules6.lookup(key));
  }
  return XDP_PASS;
});
