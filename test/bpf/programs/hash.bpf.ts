/**
 * Bob Jenkins's hash of three words, as the kernel's jhash_3words mixes them.
 */
import type { u32 } from '../../../src/bpf/library/index.ts';

const HASH_SEED = 0xdeadbeef;

function rotate(value: u32, by: u32): u32 {
  return (value << by) | (value >> (32 - by));
}

export function hash3(first: u32, second: u32, third: u32, seed: u32): u32 {
  let a: u32 = first + HASH_SEED + 12 + seed;
  let b: u32 = second + HASH_SEED + 12 + seed;
  let c: u32 = third + HASH_SEED + 12 + seed;
  c ^= b;
  c -= rotate(b, 14);
  a ^= c;
  a -= rotate(c, 11);
  b ^= a;
  b -= rotate(a, 25);
  c ^= b;
  c -= rotate(b, 16);
  a ^= c;
  a -= rotate(c, 4);
  b ^= a;
  b -= rotate(a, 14);
  c ^= b;
  c -= rotate(b, 24);
  return c;
}
