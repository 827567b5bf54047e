/**
 * Room `bpf`: the VM's rarer arithmetic (RFC 9669 sections 4.1 and 4.2): negation, division, moves with a sign, byte
 * order. The others are in `steps-arithmetic.ts`.
 *
 * A newcomer would get wrong: `le16` is no empty operation on a little-endian machine: it cuts the value to 16 bits.
 */
import { BPF_ALU, BPF_DIV, BPF_END, BPF_MOD, BPF_MOV, BPF_NEG, BPF_TO_BE } from '../../kernel/bpf-abi.ts';
import type { Instruction } from '../instructions.ts';
import { divide32, divide64, result64 } from './division.ts';

function swapWord(word: number): number {
  return (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);
}

/** `le`, `be` and `bswap`: the value is cut to `bits` and, unless `isKept`, its bytes are reversed. */
function byteOrder(file: Int32Array, d: number, bits: number, isKept: boolean): void {
  if (bits === 64) {
    if (isKept) return;
    const swapped = swapWord(file[d + 1]);
    file[d + 1] = swapWord(file[d]);
    file[d] = swapped;
    return;
  }
  file[d + 1] = 0;
  const swapped = isKept ? file[d] : swapWord(file[d]);
  if (bits === 32) file[d] = swapped;
  else file[d] = isKept ? swapped & 0xffff : swapped >>> 16;
}

/** Negation, division, sign-extending moves and byte order. `s` is the place of the operand in the register file. */
export function rareArithmetic(
  file: Int32Array,
  { opcode, offset, immediate }: Instruction,
  d: number,
  s: number,
): void {
  const isWide = (opcode & 7) !== BPF_ALU;
  switch (opcode & 0xf0) {
    case BPF_END:
      byteOrder(file, d, immediate, !isWide && (opcode & BPF_TO_BE) === 0);
      return;
    case BPF_NEG:
      file[d + 1] = isWide ? ~file[d + 1] + (file[d] === 0 ? 1 : 0) : 0;
      file[d] = -file[d];
      return;
    case BPF_MOV:
      file[d] = (file[s] << (32 - offset)) >> (32 - offset);
      file[d + 1] = isWide ? file[d] >> 31 : 0;
      return;
    case BPF_DIV:
    case BPF_MOD: {
      const wantRemainder = (opcode & 0xf0) === BPF_MOD;
      if (!isWide) {
        file[d] = divide32(file[d], file[s], wantRemainder, offset === 1);
        file[d + 1] = 0;
        return;
      }
      divide64(file[d], file[d + 1], file[s], file[s + 1], wantRemainder, offset === 1);
      file[d] = result64[0];
      file[d + 1] = result64[1];
    }
  }
}
