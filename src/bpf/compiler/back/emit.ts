/**
 * Room `bpf`: the last step: blocks in their order become instructions, jumps get their distances, places and names are noted.
 *
 * A newcomer would get wrong: jumps count slots and a wide load has two, but everything that is noted beside the code (relocations,
 * lines, names) counts instructions.
 */
import * as abi from '../../../kernel/bpf-abi.ts';
import { type Instruction, instruction, slotsOf } from '../../instructions.ts';
import type { RegisterNames, Relocation } from '../../object/spec.ts';
import type { Condition, CoreRelocation, Location } from '../ir.ts';
import type { Allocation } from './allocate.ts';
import { BackEndError } from './error.ts';
import {
  FRAME,
  inverse,
  KIND,
  type MachineBlock,
  type MachineFunction,
  type MachineInstruction,
  NONE,
} from './machine.ts';

/** A function's code, before it is in an object. */
export interface Emitted {
  readonly instructions: Instruction[];
  readonly relocations: Relocation[];
  readonly lines: { readonly index: number; readonly location: Location }[];
  readonly core: { readonly index: number; readonly relocation: CoreRelocation }[];
  readonly registerNames: RegisterNames[];
}

const jumps: Readonly<Record<Condition, number>> = {
  eq: abi.BPF_JEQ,
  ne: abi.BPF_JNE,
  ult: abi.BPF_JLT,
  ule: abi.BPF_JLE,
  ugt: abi.BPF_JGT,
  uge: abi.BPF_JGE,
  slt: abi.BPF_JSLT,
  sle: abi.BPF_JSLE,
  sgt: abi.BPF_JSGT,
  sge: abi.BPF_JSGE,
  test: abi.BPF_JSET,
};

const ALWAYS = abi.BPF_JMP | abi.BPF_JA;
const FAR = abi.BPF_JMP32 | abi.BPF_JA;
const NEAR_MAX = 32767;
const NAMED = 10;

/** Writes the blocks in the order they stand in. `isFar`: jumps beyond 16 bits exist (CPU version 4). */
export function emit(target: MachineFunction, allocation: Allocation, isFar: boolean, start: Location | null): Emitted {
  const emitter = new Emitter(target, allocation, start);
  for (const [index, block] of target.blocks.entries()) emitter.block(block, target.blocks[index + 1]);
  return emitter.finish(isFar);
}

class Emitter {
  readonly #target: MachineFunction;
  readonly #allocation: Allocation;
  readonly #instructions: Instruction[] = [];
  readonly #relocations: Relocation[] = [];
  readonly #lines: { index: number; location: Location }[] = [];
  readonly #core: { index: number; relocation: CoreRelocation }[] = [];
  readonly #registerNames: RegisterNames[] = [];
  readonly #starts = new Map<MachineBlock, number>();
  /** Jumps by the instruction's index. */
  readonly #targets = new Map<number, MachineBlock>();
  #names: (string | null)[] = new Array(NAMED).fill(null);
  #location: Location | null = null;

  constructor(target: MachineFunction, allocation: Allocation, start: Location | null) {
    this.#target = target;
    this.#allocation = allocation;
    this.#at(start);
  }

  #at(location: Location | null): void {
    if (location === null) return;
    const last = this.#location;
    const isSame = last !== null && last.line === location.line && last.column === location.column;
    if (isSame && last.file === location.file) return;
    this.#location = location;
    if (this.#lines.at(-1)?.index === this.#instructions.length) this.#lines.pop();
    this.#lines.push({ index: this.#instructions.length, location });
  }

  #register(register: number): number {
    if (register === NONE) return 0;
    if (register === FRAME) return FRAME;
    const found = this.#allocation.of[register];
    if (found < 0) throw new Error(`${this.#target.name}: register ${register} has no place`);
    return found;
  }

  block(block: MachineBlock, next: MachineBlock | undefined): void {
    this.#starts.set(block, this.#instructions.length);
    this.#names = this.#namesInto(block);
    for (const one of block.instructions) this.#instruction(one);
    this.#end(block, next);
  }

  #namesInto(block: MachineBlock): (string | null)[] {
    const names = new Array<string | null>(NAMED).fill(null);
    this.#allocation.liveness.forEachInto(block, (register) => {
      const name = this.#target.names[register];
      if (name !== undefined) names[this.#register(register)] = name;
    });
    return names;
  }

  #note(): void {
    const last = this.#registerNames.at(-1);
    if (last === undefined ? this.#names.every((name) => name === null) : same(last.names, this.#names)) return;
    this.#registerNames.push({ index: this.#instructions.length, names: [...this.#names] });
  }

  #push(location: Location | null, made: Instruction): void {
    this.#at(location);
    this.#note();
    this.#instructions.push(made);
  }

  #instruction(one: MachineInstruction): void {
    const { kind, opcode, immediate, nextImmediate, location } = one;
    const def = this.#register(one.def);
    const first = this.#register(one.first);
    const index = this.#instructions.length;
    switch (kind) {
      case KIND.move:
        if (def !== first) this.#push(location, instruction(opcode, { destination: def, source: first }));
        break;
      case KIND.constant: {
        const source = one.pseudo;
        this.#push(location, instruction(opcode, { destination: def, source, immediate, nextImmediate }));
        break;
      }
      case KIND.frame:
        this.#push(location, instruction(MOVE, { destination: def, source: FRAME }));
        this.#names[def] = null;
        this.#push(location, instruction(abi.BPF_ALU64 | abi.BPF_ADD | abi.BPF_K, { destination: def, immediate }));
        break;
      case KIND.alu:
      case KIND.extend:
      case KIND.load: {
        const { offset } = one;
        this.#push(location, instruction(opcode, { destination: def, source: first, offset, immediate }));
        break;
      }
      case KIND.store:
      case KIND.atomic: {
        const source = one.second === NONE && one.def !== NONE ? def : this.#register(one.second);
        this.#push(location, instruction(opcode, { destination: first, source, offset: one.offset, immediate }));
        break;
      }
      case KIND.call:
        this.#push(location, instruction(opcode, { source: one.pseudo, immediate }));
        break;
    }
    if (one.relocation !== null) this.#relocations.push({ index, ...one.relocation });
    if (one.core !== null) this.#core.push({ index, relocation: one.core });
    this.#rename(one);
  }

  #rename({ kind, def, writes }: MachineInstruction): void {
    for (let left = writes; left !== 0; left &= left - 1) this.#names[31 - Math.clz32(left & -left)] = null;
    if (def === NONE) return;
    const name = this.#target.names[def] ?? null;
    const register = this.#register(def);
    // A copy without a name of its own keeps that of what it copies where both became one register.
    if (name !== null || kind !== KIND.move) this.#names[register] = name;
  }

  #end({ end }: MachineBlock, next: MachineBlock | undefined): void {
    const { location } = end;
    if (end.kind === 'exit') {
      this.#push(location, instruction(abi.BPF_JMP | abi.BPF_EXIT));
    } else if (end.kind === 'jump') {
      if (end.target !== next) this.#jump(location, instruction(ALWAYS), end.target);
    } else {
      let { condition, whenTrue, whenFalse } = end;
      const opposite = inverse[condition];
      if (whenTrue === next && opposite !== undefined) {
        [whenTrue, whenFalse] = [whenFalse, whenTrue];
        condition = opposite;
      }
      const { immediate } = end;
      const operand = end.second === NONE ? abi.BPF_K : abi.BPF_X;
      const opcode = (end.bits === 64 ? abi.BPF_JMP : abi.BPF_JMP32) | jumps[condition] | operand;
      const registers = { destination: this.#register(end.first), source: this.#register(end.second), immediate };
      this.#jump(location, instruction(opcode, registers), whenTrue);
      if (whenFalse !== next) this.#jump(location, instruction(ALWAYS), whenFalse);
    }
  }

  #jump(location: Location | null, made: Instruction, target: MachineBlock): void {
    this.#targets.set(this.#instructions.length, target);
    this.#push(location, made);
  }

  /** Fills in the distances. */
  finish(isFar: boolean): Emitted {
    const slots: number[] = [];
    let slot = 0;
    for (const one of this.#instructions) {
      slots.push(slot);
      slot += slotsOf(one);
    }
    for (const [index, block] of this.#targets) {
      const distance = slots[this.#starts.get(block) ?? 0] - slots[index] - 1;
      const made = this.#instructions[index];
      if (distance >= -NEAR_MAX - 1 && distance <= NEAR_MAX) {
        this.#instructions[index] = { ...made, offset: distance };
      } else if (isFar && made.opcode === ALWAYS) {
        this.#instructions[index] = instruction(FAR, { immediate: distance });
      } else {
        const problem = `has ${this.#instructions.length} instructions: a jump over ${distance} does not fit in 16 bits`;
        throw new BackEndError(this.#target.name, null, problem);
      }
    }
    return {
      instructions: this.#instructions,
      relocations: this.#relocations,
      lines: this.#lines,
      core: this.#core,
      registerNames: this.#registerNames,
    };
  }
}

const MOVE = abi.BPF_ALU64 | abi.BPF_MOV | abi.BPF_X;

function same(a: readonly (string | null)[], b: readonly (string | null)[]): boolean {
  return a.every((name, index) => name === b[index]);
}
