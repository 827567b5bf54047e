/**
 * Room `bpf`: addresses as map keys and values have them.
 *
 * A newcomer would get wrong: an IPv4 address is a number in the host's order, as programs see it (`be32` fields are swapped when they are
 * read). An IPv6 address is four such numbers, the first the most significant: what `array(be32, 4)` holds, as in `Ipv6.source` and
 * the contexts' `remote_ip6`.
 */
import { isIPv4, isIPv6 } from 'node:net';

/** `203.0.113.9` as a number. @throws RangeError for text that is no IPv4 address */
export function ipv4(text: string): number {
  if (!isIPv4(text)) throw new RangeError(`${JSON.stringify(text)} is no IPv4 address`);
  return text.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
}

/** The address that a number is. @throws RangeError for anything but an integer from 0 to 2^32 - 1 */
export function ipv4Text(address: number): string {
  if (!Number.isInteger(address) || address < 0 || address > 0xffffffff) {
    throw new RangeError(`${address} is no IPv4 address: 0 to 4294967295 are allowed`);
  }
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.');
}

/**
 * `2001:db8::1` as four numbers of 32 bits, `[0x20010db8, 0, 0, 1]`.
 * @throws RangeError for text that is no IPv6 address; zones are not part of one
 */
export function ipv6(text: string): number[] {
  if (!isIPv6(text) || text.includes('%')) throw new RangeError(`${JSON.stringify(text)} is no IPv6 address`);
  // The last 32 bits may be written as an IPv4 address (RFC 4291 section 2.2).
  const plain = text.replace(/[\d.]+\.\d+$/, (tail) => {
    const value = ipv4(tail);
    return `${(value >>> 16).toString(16)}:${(value & 0xffff).toString(16)}`;
  });
  const [head, tail] = plain.split('::').map((part) => (part === '' ? [] : part.split(':')));
  const groups = tail === undefined ? head : [...head, ...Array(8 - head.length - tail.length).fill('0'), ...tail];
  const values = groups.map((group) => Number.parseInt(group, 16));
  return [0, 2, 4, 6].map((index) => values[index] * 0x10000 + values[index + 1]);
}

/**
 * The shortest text of an address (RFC 5952): of four numbers as {@link ipv6} gives them, or of its 16 bytes on the wire, which is what a
 * value of `array(u8, 16)` is. @throws RangeError for another number of them
 */
export function ipv6Text(address: ArrayLike<number>): string {
  if (address.length !== 4 && address.length !== 16) {
    throw new RangeError(`an IPv6 address has 4 numbers or 16 bytes, not ${address.length}`);
  }
  const bits = 128 / address.length;
  const value = Array.from(address).reduce(
    (sum, part) => (sum << BigInt(bits)) | BigInt.asUintN(bits, BigInt(part)),
    0n,
  );
  const groups = Array.from({ length: 8 }, (_, index) => ((value >> BigInt(112 - index * 16)) & 0xffffn).toString(16));
  // The parser of URLs knows the shortest form.
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}
