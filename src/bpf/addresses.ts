/**
 * Room `bpf`: addresses as map keys and values have them.
 *
 * A newcomer would get wrong: an IPv4 address is a number in the host's order, as programs see it (`be32` fields are swapped when they are
 * read). An IPv6 address is 16 bytes in the order of the wire.
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

/** `2001:db8::1` as 16 bytes. @throws RangeError for text that is no IPv6 address; zones are not part of one */
export function ipv6(text: string): number[] {
  if (!isIPv6(text) || text.includes('%')) throw new RangeError(`${JSON.stringify(text)} is no IPv6 address`);
  // The last 32 bits may be written as an IPv4 address (RFC 4291 section 2.2).
  const plain = text.replace(/[\d.]+\.\d+$/, (tail) => {
    const value = ipv4(tail);
    return `${(value >>> 16).toString(16)}:${(value & 0xffff).toString(16)}`;
  });
  const [head, tail] = plain.split('::').map((part) => (part === '' ? [] : part.split(':')));
  const groups = tail === undefined ? head : [...head, ...Array(8 - head.length - tail.length).fill('0'), ...tail];
  return groups.flatMap((group) => {
    const value = Number.parseInt(group, 16);
    return [value >>> 8, value & 255];
  });
}

/** 16 bytes as the shortest text (RFC 5952). @throws RangeError for another number of bytes */
export function ipv6Text(bytes: ArrayLike<number>): string {
  if (bytes.length !== 16) throw new RangeError(`an IPv6 address has 16 bytes, not ${bytes.length}`);
  const groups = Array.from({ length: 8 }, (_, index) => ((bytes[index * 2] << 8) | bytes[index * 2 + 1]).toString(16));
  // The parser of URLs knows the shortest form.
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}
