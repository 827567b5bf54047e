/**
 * Room `bpf`: the VM's jumps as steps (RFC 9669 section 4.3) on values of two words. `then` and `otherwise` are slots.
 *
 * A newcomer would get wrong: signed and unsigned 64-bit comparisons differ in the high word only; low words are always
 * unsigned.
 */
import { STEP } from './steps.ts';
import type { Step } from './steps-arithmetic.ts';

/** Places of the two operands in the register file. */
export interface Operands {
  readonly a: number;
  readonly b: number;
}

/** The step of a conditional jump; null for what is none. */
export function jumpStep(
  file: Int32Array,
  step: number,
  { a, b }: Operands,
  then: number,
  otherwise: number,
): Step | null {
  switch (step) {
    case STEP.equal64:
      return () => (file[a] === file[b] && file[a + 1] === file[b + 1] ? then : otherwise);
    case STEP.equal32:
      return () => (file[a] === file[b] ? then : otherwise);
    case STEP.below64:
      return () => {
        const word = file[a + 1] === file[b + 1] ? 0 : 1;
        return file[a + word] >>> 0 < file[b + word] >>> 0 ? then : otherwise;
      };
    case STEP.below32:
      return () => (file[a] >>> 0 < file[b] >>> 0 ? then : otherwise);
    case STEP.less64:
      return () => {
        const isLess = file[a + 1] === file[b + 1] ? file[a] >>> 0 < file[b] >>> 0 : file[a + 1] < file[b + 1];
        return isLess ? then : otherwise;
      };
    case STEP.less32:
      return () => (file[a] < file[b] ? then : otherwise);
    case STEP.test64:
      return () => ((file[a] & file[b]) !== 0 || (file[a + 1] & file[b + 1]) !== 0 ? then : otherwise);
    case STEP.test32:
      return () => ((file[a] & file[b]) !== 0 ? then : otherwise);
    default:
      return null;
  }
}
