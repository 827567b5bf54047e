/**
 * Room `bpf`: the conditions of the VM's jumps (RFC 9669 section 4.3) on values of two words.
 *
 * A newcomer would get wrong: signed and unsigned 64-bit comparisons differ in the high word only; low words are always unsigned.
 */
import { STEP } from './steps.ts';

/** Whether the condition of a jump's step holds between the registers at places `a` and `b` of the file. */
export function holds(file: Int32Array, step: number, a: number, b: number): boolean {
  switch (step) {
    case STEP.equal64:
      return file[a] === file[b] && file[a + 1] === file[b + 1];
    case STEP.equal32:
      return file[a] === file[b];
    case STEP.below64:
      if (file[a + 1] === file[b + 1]) return file[a] >>> 0 < file[b] >>> 0;
      return file[a + 1] >>> 0 < file[b + 1] >>> 0;
    case STEP.below32:
      return file[a] >>> 0 < file[b] >>> 0;
    case STEP.less64:
      return file[a + 1] === file[b + 1] ? file[a] >>> 0 < file[b] >>> 0 : file[a + 1] < file[b + 1];
    case STEP.less32:
      return file[a] < file[b];
    case STEP.test64:
      return (file[a] & file[b]) !== 0 || (file[a + 1] & file[b + 1]) !== 0;
    default:
      return (file[a] & file[b]) !== 0;
  }
}
