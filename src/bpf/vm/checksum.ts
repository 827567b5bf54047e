/**
 * Room `bpf`: the Internet checksum's arithmetic (RFC 1071) as bpf_csum_diff does it.
 */

const ALL_ONES = 0xffffffff;

/** Sum with the carry added at the other end. */
function add(a: number, b: number): number {
  const sum = a + b;
  return sum > ALL_ONES ? sum - ALL_ONES : sum;
}

/** The sum of the bytes as little-endian words, as if zeros followed up to a whole word. */
function sumOf(bytes: Uint8Array, seed: number): number {
  let sum = seed;
  for (const [at, byte] of bytes.entries()) sum = add(sum, byte * 2 ** (8 * (at & 3)));
  return sum;
}

/** One's complement. */
function not(value: number): number {
  return ~value >>> 0;
}

/** From 32 bits to 16, carries added at the other end (csum_from32to16). */
function fold(sum: number): number {
  const folded = (sum & 0xffff) + (sum >>> 16);
  return (folded & 0xffff) + (folded >>> 16);
}

/**
 * The difference that replacing `from` by `to` makes to a checksum that begins with `seed`. Folded to 16 bits, and of
 * any length, as Linux does since 6.13; before, lengths were multiples of 4 and the sum's 32 bits depended on the machine.
 */
export function checksumDifference(from: Uint8Array, to: Uint8Array, seed: number): number {
  if (from.length > 0 && to.length > 0) return fold(add(sumOf(to, seed), not(sumOf(from, 0))));
  if (to.length > 0) return fold(sumOf(to, seed));
  if (from.length > 0) return fold(not(sumOf(from, not(seed))));
  return fold(seed);
}
