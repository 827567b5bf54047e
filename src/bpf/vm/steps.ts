/**
 * Room `bpf`: the steps of the VM: what an instruction becomes in `program.ts` and what `machine.ts` executes.
 *
 * A newcomer would get wrong: the order matters. The loop tells memory accesses, jumps and the rest apart by ranges.
 */

/** Arithmetic comes first, then loads, stores, jumps, and what leaves the loop. */
export const STEP = {
  constant: 0,
  move64: 1,
  add64: 2,
  sub64: 3,
  and64: 4,
  or64: 5,
  xor64: 6,
  lsh64: 7,
  rsh64: 8,
  arsh64: 9,
  mul64: 10,
  move32: 11,
  add32: 12,
  sub32: 13,
  and32: 14,
  or32: 15,
  xor32: 16,
  lsh32: 17,
  rsh32: 18,
  arsh32: 19,
  mul32: 20,
  load8: 21,
  load16: 22,
  load32: 23,
  load64: 24,
  store8: 25,
  store16: 26,
  store32: 27,
  store64: 28,
  always: 29,
  equal64: 30,
  equal32: 31,
  below64: 32,
  below32: 33,
  less64: 34,
  less32: 35,
  test64: 36,
  test32: 37,
  /** Negation, division, sign-extending moves, byte order. */
  rareArithmetic: 38,
  loadSigned: 39,
  atomic: 40,
  callHelper: 41,
  callLocal: 42,
  exit: 43,
  /** Behind the last instruction. */
  end: 44,
  /** An address of an arena in its other form. */
  castAddress: 45,
} as const;
