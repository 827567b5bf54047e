/**
 * Room `bpf`: what the back end cannot turn into instructions. Off the hot path.
 *
 * A newcomer would get wrong: it knows no file names. Whoever compiles turns `location` into a place of the source.
 */
import type { Location } from '../ir.ts';

/** A function that has no form as eBPF: too much stack, jumps too far, recursion. */
export class BackEndError extends Error {
  override readonly name = 'BackEndError';
  /** The function's name. */
  readonly function: string;
  /** Where in the source, if that is known. */
  readonly location: Location | null;
  /** What is wrong, without the function's name. */
  readonly problem: string;

  constructor(name: string, location: Location | null, problem: string) {
    super(`${name} ${problem}`);
    this.function = name;
    this.location = location;
    this.problem = problem;
  }
}
