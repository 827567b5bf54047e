/**
 * Room `bpf`: signed division on a CPU that has the unsigned one only (before version 4, kernel 6.6).
 *
 * A newcomer would get wrong: RFC 9669 defines every case. A quotient by 0 is 0, a remainder by 0 the dividend; the smallest number
 * by -1 is itself. Dividing magnitudes and giving the result its sign does all that, for the magnitude wraps in the same way.
 */
import * as abi from '../../../kernel/bpf-abi.ts';
import type { Code } from './code.ts';

interface Division {
  readonly remainder: boolean;
  readonly bits: 32 | 64;
  readonly def: number;
  readonly left: number;
  readonly right: number;
}

/** Writes def = left / right or left % right for signed numbers. Breaks the block. */
export function divideSigned(code: Code, cpu: 3 | 4, { remainder, bits, def, left, right }: Division): void {
  const operation = remainder ? abi.BPF_MOD : abi.BPF_DIV;
  if (cpu === 4) {
    code.alu(bits, operation, def, left, right, 1);
    return;
  }
  const sign = code.fresh();
  // A remainder has the dividend's sign, a quotient is negative where the signs differ.
  if (remainder) code.move(sign, left);
  else code.alu(bits, abi.BPF_XOR, sign, left, right);
  const dividend = magnitude(code, bits, left);
  const divisor = magnitude(code, bits, right);
  const quotient = code.fresh();
  code.alu(bits, operation, quotient, dividend, divisor);
  negateWhere(code, bits, sign, def, quotient);
}

/** Writes def = left / number or left % number, where the number's magnitude fits in an instruction. Breaks the block. */
export function divideSignedBy(code: Code, division: Omit<Division, 'right'>, number: number): void {
  const { remainder, bits, def, left } = division;
  const negative = code.newBlock();
  const positive = code.newBlock();
  const next = code.newBlock();
  const operation = remainder ? abi.BPF_MOD : abi.BPF_DIV;
  const isTurned = !remainder && number < 0;
  code.branchImmediate('slt', bits, left, 0, [negative, positive]);
  for (const block of [positive, negative]) {
    code.enter(block);
    let from = left;
    if (block === negative) {
      from = code.fresh();
      code.aluImmediate(bits, abi.BPF_NEG, from, left, 0);
    }
    code.aluImmediate(bits, operation, def, from, Math.abs(number));
    if ((block === negative) !== isTurned) code.aluImmediate(bits, abi.BPF_NEG, def, def, 0);
    code.jump(next);
  }
  code.enter(next);
}

function magnitude(code: Code, bits: 32 | 64, from: number): number {
  const result = code.fresh();
  negateWhere(code, bits, from, result, from);
  return result;
}

/** def = from, or -from where `sign` is negative. */
function negateWhere(code: Code, bits: 32 | 64, sign: number, def: number, from: number): void {
  const negative = code.newBlock();
  const next = code.newBlock();
  code.move(def, from);
  code.branchImmediate('slt', bits, sign, 0, [negative, next]);
  code.enter(negative);
  code.aluImmediate(bits, abi.BPF_NEG, def, def, 0);
  code.jump(next);
  code.enter(next);
}
