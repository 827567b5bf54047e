/**
 * Room `bpf`: addresses in text, in programs and in user space alike: `ip.source === ipv4('192.0.2.1')`.
 *
 * A newcomer would get wrong: in a program the text must be written out. The compiler puts the number into the code; nothing is parsed in
 * the kernel.
 */
import * as addresses from '../addresses.ts';
import { define } from './registry.ts';

/** `203.0.113.9` as a number in the host's order, which is what a `be32` holds. @throws RangeError for text that is no IPv4 address */
export const ipv4: (text: string) => number = define((text) => addresses.ipv4(text), {
  kind: 'intrinsic',
  name: 'ipv4',
});

/**
 * `2001:db8::1` as four numbers, the first the most significant, which is what an `array(be32, 4)` holds: `Ipv6.source`, `remote_ip6` of
 * contexts, keys of your maps. @throws RangeError for text that is no IPv6 address; zones are not part of one
 */
export const ipv6: (text: string) => number[] = define((text) => addresses.ipv6(text), {
  kind: 'intrinsic',
  name: 'ipv6',
});
