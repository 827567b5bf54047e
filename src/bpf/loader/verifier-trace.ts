/**
 * Room `bpf`: whose value a refused register holds: followed back through the instructions that the verifier printed, to the last
 * one after which a variable of the source lay in the register.
 *
 * A newcomer would get wrong: what is refused is mostly an address that nobody named: a pointer to which a number was added. The number
 * is what the author can do something about.
 */
import { type LogStep, registersIn } from './verifier-log.ts';

/** Where a value comes from. */
export interface Origin {
  readonly variable: string;
  /** What the verifier knew of it when it lay there, or null. */
  readonly known: string | null;
}

/** The log's way is longer; further back nothing belongs to one expression. */
const STEPS_MAX = 64;

const ASSIGNMENT = /^[rw](\d+) (=|\+=|-=|\*=|\/=|%=|&=|\|=|\^=|<<=|>>=|s>>=) (.*)$/;
const REGISTER = /^-?[rw](\d+)$/;
/** `r1 = be32 r1`, `r1 = (s8)r2`. */
const CONVERSION = /^(?:(?:be|le|bswap)\d+ |\(s\d+\))[rw](\d+)$/;

/** Which register's history goes on before an instruction; null where the value began with it. */
function before(register: number, operator: string, operand: string): number | null {
  const other = REGISTER.exec(operand)?.[1];
  if (operator === '=') {
    const source = other ?? CONVERSION.exec(operand)?.[1];
    return source === undefined ? null : Number(source);
  }
  // Of a pointer and a number that is added to it, the number; of two numbers, the one added last.
  return operator === '+=' && other !== undefined ? Number(other) : register;
}

/**
 * Follows a register back. `nameAt` gives the variable in a register when the instruction in a slot begins; the refused instruction is
 * the last step.
 */
export function originOf(
  steps: readonly LogStep[],
  register: number,
  nameAt: (slot: number, register: number) => string | null,
): Origin | null {
  let follow = register;
  for (let index = steps.length - 2; index >= 0 && index > steps.length - STEPS_MAX; index--) {
    const [, target, operator, operand] = ASSIGNMENT.exec(steps[index].text) ?? [];
    if (target === undefined || Number(target) !== follow) continue;
    const variable = nameAt(steps[index + 1].slot, follow);
    if (variable !== null) {
      const known = registersIn(steps[index].comment).find((state) => state.register === follow)?.known ?? null;
      return { variable, known };
    }
    const next = before(follow, operator, operand);
    if (next === null) return null;
    follow = next;
    const inOperand = nameAt(steps[index].slot, follow);
    if (inOperand === null) continue;
    // What stands behind an instruction is the state after it, so that of a register it changed is found further back.
    return { variable: inOperand, known: lastKnown(steps, next === Number(target) ? index - 1 : index, follow) };
  }
  return null;
}

function lastKnown(steps: readonly LogStep[], from: number, register: number): string | null {
  for (let index = from; index >= 0 && index > from - STEPS_MAX; index--) {
    const state = registersIn(steps[index].comment).find((one) => one.register === register);
    if (state !== undefined) return state.known;
  }
  return null;
}
