/**
 * Random numbers that are the same in every run with the same seed, so that a failure can be repeated. Not for secrets.
 */
export interface RandomSource {
  /** An integer from 0 to `below - 1`; `below` is at most 2^32. */
  integer(below: number): number;
}

/** Mulberry32 (Tommy Ettinger, public domain). */
export function randomSource(seed: number): RandomSource {
  let state = seed >>> 0;
  return {
    integer(below) {
      state = (state + 0x6d2b79f5) >>> 0;
      let mixed = Math.imul(state ^ (state >>> 15), state | 1);
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
      return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296) * below);
    },
  };
}
