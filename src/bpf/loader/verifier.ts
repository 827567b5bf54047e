/**
 * Room `bpf`: what the verifier means, in one sentence at the source line: which variable, what was known of it, what to do.
 *
 * A newcomer would get wrong: the verifier speaks of registers at an instruction. The compiler notes which variable lies where
 * (`RegisterNames`), so the sentence can speak of the variable; the raw log is kept in the error.
 */
import { KernelError } from '../../kernel/error.ts';
import { readLog, reasonOf } from './verifier-log.ts';
import { type Explanation, sentenceOf } from './verifier-sentences.ts';
import { originOf } from './verifier-trace.ts';

export { reasonOf } from './verifier-log.ts';

/** Where an instruction comes from, and which variables its registers hold when it begins. */
export interface SourcePosition {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** The source line. */
  readonly text: string;
  readonly names: readonly (string | null)[];
}

/** From a slot of the program that was given to the kernel to the source. */
export interface ProgramSource {
  at(slot: number): SourcePosition | null;
  /** What a call of no helper stands for: a part of a kernel type that this kernel does not have (CO-RE). Null for other calls. */
  missing?(helper: number): string | null;
}

/** A refusal in the user's terms. */
export interface ExplainedRefusal extends Explanation {
  readonly position: SourcePosition | null;
  /** `file:line:column: sentence`. */
  readonly message: string;
}

/** Explains a log; `source` is null where the instructions have none. */
export function explain(log: string, source: ProgramSource | null): ExplainedRefusal {
  const refusal = readLog(log);
  const position = refusal.slot === null ? null : (source?.at(refusal.slot) ?? null);
  const nameOf = (register: number): string | null => position?.names[register] ?? null;
  const placeOf = (slot: number): string | null => {
    const place = source?.at(slot);
    return place === null || place === undefined ? null : `line ${place.line}`;
  };
  const explanation = sentenceOf(refusal, {
    name: nameOf,
    place: placeOf,
    origin: (register) => originOf(refusal.steps, register, (slot, of) => source?.at(slot)?.names[of] ?? null),
    missing: (helper) => source?.missing?.(helper) ?? null,
  });
  const where = position === null ? '' : `${position.file}:${position.line}:${position.column}: `;
  return { ...explanation, position, message: `${where}${explanation.sentence}` };
}

/**
 * A program that the verifier refused. `message` has the sentence of {@link explain} where the source is known, else the verifier's
 * own words; `log` is the whole log.
 */
export class VerifierError extends KernelError {
  readonly log: string;
  readonly explanation: ExplainedRefusal;

  constructor(result: number, object: string, log: string, source?: ProgramSource) {
    const explanation = explain(log, source ?? null);
    const isPlaced = explanation.position !== null;
    super('bpf', result, {
      object,
      remedy: isPlaced ? explanation.message : `the verifier says: ${reasonOf(log)}`,
    });
    this.log = log;
    this.explanation = explanation;
  }
}
