/**
 * Room `bpf`: instructions as text, in the syntax that `assembler.ts` reads (`add %r1, 4`), not in bpftool's (`r1 += 4`).
 * The reason: this text goes back through the assembler to the same bits, whatever they are, and each name stands for one
 * encoding. Of C-like text two encodings can look the same (`r1 = 4` is a move and a wide load).
 *
 * A newcomer would get wrong: an instruction with something in a field that its form does not use has no name here. It is
 * printed as `.word`, because the kernel refuses it and a name would hide why.
 */
import { BPF_PSEUDO_FUNC } from '../kernel/bpf-abi.ts';
import { encode, FRAME_POINTER, type Instruction, slotsOf } from './instructions.ts';
import { type Field, fieldsOf, type Mnemonic, mnemonicsByOpcode, type Operand, wideForms } from './mnemonics.ts';

const fields: readonly Field[] = ['destination', 'source', 'offset', 'immediate', 'nextImmediate'];

/** What a place in the program is called; undefined where no instruction begins. */
type NameOf = (slot: number) => string | undefined;

function fits(form: Mnemonic, found: Instruction): boolean {
  const free = new Set(form.operands.flatMap((operand) => fieldsOf[operand]));
  if (fields.some((field) => !free.has(field) && found[field] !== (form.fixed[field] ?? 0))) return false;
  if (found.destination > FRAME_POINTER) return false;
  if (!form.operands.includes('wide')) return found.source <= FRAME_POINTER;
  const wide = wideForms.get(found.source);
  return found.source === 0 || (wide !== undefined && (wide.next || found.nextImmediate === 0));
}

function signed(value: number): string {
  return value < 0 ? `${value}` : `+${value}`;
}

function memory(register: number, offset: number): string {
  return `[%r${register}${offset === 0 ? '' : signed(offset)}]`;
}

function wide(found: Instruction, place: (distance: number) => string): string {
  const form = wideForms.get(found.source);
  if (form === undefined) {
    const value =
      (BigInt.asUintN(32, BigInt(found.nextImmediate)) << 32n) | BigInt.asUintN(32, BigInt(found.immediate));
    return `0x${value.toString(16)}`;
  }
  const inner = found.source === BPF_PSEUDO_FUNC ? place(found.immediate) : `${found.immediate}`;
  const next = form.next && found.nextImmediate !== 0 ? signed(found.nextImmediate) : '';
  return form.open + inner + form.close + next;
}

function operandText(operand: Operand, found: Instruction, place: (distance: number) => string): string {
  switch (operand) {
    case 'destination':
      return `%r${found.destination}`;
    case 'source':
      return `%r${found.source}`;
    case 'immediate':
      return `${found.immediate}`;
    case 'loaded':
      return memory(found.source, found.offset);
    case 'stored':
      return memory(found.destination, found.offset);
    case 'branch':
      return place(found.offset);
    case 'far':
      return place(found.immediate);
    case 'wide':
      return wide(found, place);
  }
}

function words(found: Instruction): string {
  const bytes = encode([found]);
  const view = new DataView(bytes.buffer);
  const text: string[] = [];
  for (let at = 0; at < bytes.length; at += 8) {
    text.push(`0x${view.getBigUint64(at, true).toString(16).padStart(16, '0')}`);
  }
  return `.word ${text.join(', ')}`;
}

function textOf(found: Instruction, slot: number, nameOf: NameOf): string {
  const form = mnemonicsByOpcode.get(found.opcode)?.find((candidate) => fits(candidate, found));
  if (form === undefined) return words(found);
  // Distances count from the slot after the jump, also after a wide load's first half (code_addr).
  const place = (distance: number) => nameOf(slot + 1 + distance) ?? signed(distance);
  const operands = form.operands.map((operand) => operandText(operand, found, place));
  return operands.length === 0 ? form.name : `${form.name} ${operands.join(', ')}`;
}

/** One instruction; jumps are shown as distances in slots (`+3`). */
export function disassembleOne(found: Instruction): string {
  return textOf(found, 0, () => undefined);
}

/** The distance of a jump, a local call or a function's address, in slots; undefined for other instructions. */
function distanceOf(found: Instruction): number | undefined {
  const form = mnemonicsByOpcode.get(found.opcode)?.find((candidate) => fits(candidate, found));
  if (form?.operands.includes('branch')) return found.offset;
  if (form?.operands.includes('far')) return found.immediate;
  return form?.operands.includes('wide') && found.source === BPF_PSEUDO_FUNC ? found.immediate : undefined;
}

/**
 * The whole program, one instruction a line, with a label (`L7:`, after its slot) before each place that is jumped to.
 * `assemble` makes the same instructions of it.
 */
export function disassemble(instructions: readonly Instruction[]): string {
  const targets = new Set<number>();
  const starts: number[] = [];
  let slot = 0;
  for (const found of instructions) {
    const distance = distanceOf(found);
    if (distance !== undefined) targets.add(slot + 1 + distance);
    starts.push(slot);
    slot += slotsOf(found);
  }
  const labelled = new Set(starts.filter((start) => targets.has(start)));
  const nameOf: NameOf = (target) => (labelled.has(target) ? `L${target}` : undefined);
  const lines = instructions.flatMap((found, index) => {
    const text = `    ${textOf(found, starts[index], nameOf)}`;
    return labelled.has(starts[index]) ? [`L${starts[index]}:`, text] : [text];
  });
  return lines.join('\n') + (lines.length === 0 ? '' : '\n');
}
