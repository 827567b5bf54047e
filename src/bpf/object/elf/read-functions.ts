/**
 * Room `bpf`: functions of an object: their instructions, what these refer to by name, and what `.BTF.ext` says of them.
 *
 * A newcomer would get wrong: a call of a static function has no relocation, or one against its section with the distance in the
 * immediate; one of a global function names it and has an immediate of -1 (LLVM's BPF back end). All become a name here.
 */
import {
  BPF_CALL,
  BPF_JMP,
  BPF_PSEUDO_BTF_ID,
  BPF_PSEUDO_CALL,
  BPF_PSEUDO_FUNC,
  BPF_PSEUDO_KFUNC_CALL,
  BPF_PSEUDO_MAP_FD,
  BPF_PSEUDO_MAP_VALUE,
} from '../../../kernel/bpf-abi.ts';
import { SHN_COMMON, SHN_UNDEF, SHT_PROGBITS } from '../../../kernel/elf-abi.ts';
import { DecodeError, decode, INSTRUCTION_BYTES, type Instruction, slotsOf, WIDE_LOAD } from '../../instructions.ts';
import type { ExtSection } from '../btf/ext.ts';
import type { FunctionSpec, Relocation } from '../spec.ts';
import { ElfError, type ElfFile, type ElfRelocation, type ElfSection, type ElfSymbol, isLocal } from './file.ts';
import { kindOfSection } from './program-sections.ts';

const CALL = BPF_JMP | BPF_CALL;
/** Where functions stand that are no programs. */
const SUBPROGRAMS = '.text';

/** A function's place, and its name in the object: names of static functions need not differ, these do. */
export interface PlacedFunction {
  readonly name: string;
  readonly symbol: ElfSymbol;
  readonly section: ElfSection;
}

/** What instructions may refer to beside functions. */
export interface References {
  /** The map that begins there, or null. */
  readonly mapAt: (section: number, offset: number) => string | null;
  /** The name of a section of data, or null for another. */
  readonly dataSection: (section: number) => string | null;
  /** Where a kconfig option lies in `.kconfig`, or null. */
  readonly kconfig: (name: string) => number | null;
}

/** All functions of the object in order of sections and offsets. @throws ElfError for one that reaches beyond its section */
export function placeFunctions(elf: ElfFile): PlacedFunction[] {
  const taken = new Set<string>();
  return elf.sections
    .filter((section) => section.type === SHT_PROGBITS && section.executable)
    .flatMap((section) =>
      elf.functionsIn(section).map((symbol) => {
        const { value, size } = symbol;
        if (value + size > section.bytes.length || size === 0 || value % INSTRUCTION_BYTES !== 0) {
          throw new ElfError(`function ${symbol.name} at ${value}, ${size} bytes, is not within ${section.name}`);
        }
        let name = symbol.name;
        for (let count = 2; taken.has(name); count++) name = `${symbol.name}.${count}`;
        taken.add(name);
        return { name, symbol, section };
      }),
    );
}

/** Finds the function that begins at a byte of a section. */
export function functionAt(functions: readonly PlacedFunction[], section: number, offset: number): string | null {
  return functions.find((one) => one.section.index === section && one.symbol.value === offset)?.name ?? null;
}

/** Reads every function. `ext` is by section. */
export function readFunctions(
  elf: ElfFile,
  functions: readonly PlacedFunction[],
  ext: ReadonlyMap<string, ExtSection>,
  references: References,
): FunctionSpec[] {
  const relocations = new Map<number, ElfRelocation[]>();
  return functions.map((one) => {
    let all = relocations.get(one.section.index);
    if (all === undefined) {
      all = elf.relocationsFor(one.section);
      relocations.set(one.section.index, all);
    }
    return new FunctionReader(one, functions, references).read(all, ext.get(one.section.name));
  });
}

class FunctionReader {
  readonly #function: PlacedFunction;
  readonly #functions: readonly PlacedFunction[];
  readonly #references: References;
  readonly #instructions: Instruction[];
  /** Which instruction begins at a slot of the function. */
  readonly #bySlot = new Map<number, number>();
  readonly #relocations: Relocation[] = [];

  constructor(placed: PlacedFunction, functions: readonly PlacedFunction[], references: References) {
    this.#function = placed;
    this.#functions = functions;
    this.#references = references;
    this.#instructions = this.#decode();
    let slot = 0;
    for (const [index, one] of this.#instructions.entries()) {
      this.#bySlot.set(slot, index);
      slot += slotsOf(one);
    }
  }

  #decode(): Instruction[] {
    const { symbol, section } = this.#function;
    try {
      return decode(section.bytes.subarray(symbol.value, symbol.value + symbol.size));
    } catch (error) {
      if (error instanceof DecodeError) throw this.#error(error.message);
      throw error;
    }
  }

  #error(problem: string): ElfError {
    return new ElfError(`function ${this.#function.name}: ${problem}`);
  }

  read(relocations: readonly ElfRelocation[], ext: ExtSection | undefined): FunctionSpec {
    const { name, symbol, section } = this.#function;
    const start = symbol.value;
    const end = start + symbol.size;
    const related = new Set<number>();
    for (const relocation of relocations) {
      if (relocation.offset < start || relocation.offset >= end) continue;
      const index = this.#indexAt(relocation.offset - start, 'a relocation');
      if (related.has(index)) throw this.#error(`instruction ${index} has two relocations`);
      related.add(index);
      this.#relate(index, relocation);
    }
    this.#relateCalls(related);
    const within = <T extends { readonly offset: number }>(list: readonly T[] | undefined): readonly T[] =>
      (list ?? []).filter(({ offset }) => offset >= start && offset < end);
    const isProgram = section.name !== SUBPROGRAMS && !isLocal(symbol);
    return {
      name,
      kind: isProgram ? kindOfSection(section.name) : null,
      linkage: isLocal(symbol) ? 'static' : 'global',
      instructions: this.#instructions,
      relocations: this.#relocations.sort((a, b) => a.index - b.index),
      lines: within(ext?.lines).map(({ offset, ...line }) => ({
        ...line,
        index: this.#indexAt(offset - start, 'a line'),
      })),
      core: within(ext?.core).map(({ offset, ...record }) => ({
        ...record,
        index: this.#indexAt(offset - start, 'a CO-RE record'),
      })),
      typeId: ext?.functions.find((one) => one.offset === start)?.typeId ?? 0,
    };
  }

  #indexAt(offset: number, what: string): number {
    const index = this.#bySlot.get(offset / INSTRUCTION_BYTES);
    if (index === undefined) throw this.#error(`${what} is for byte ${offset}, where no instruction begins`);
    return index;
  }

  /** Static functions of the same section are called by distance. */
  #relateCalls(related: ReadonlySet<number>): void {
    const { section, symbol } = this.#function;
    for (const [slot, index] of this.#bySlot) {
      const { opcode, source, immediate } = this.#instructions[index];
      if (opcode !== CALL || source !== BPF_PSEUDO_CALL || related.has(index)) continue;
      this.#call(index, section.index, symbol.value + (slot + 1 + immediate) * INSTRUCTION_BYTES);
    }
  }

  #call(index: number, section: number, offset: number): void {
    const target = functionAt(this.#functions, section, offset);
    if (target === null) throw this.#error(`instruction ${index} calls where no function begins`);
    this.#put(index, 'call', target, { source: BPF_PSEUDO_CALL, immediate: -1 });
  }

  #put(
    index: number,
    kind: Relocation['kind'],
    symbol: string,
    fields: Pick<Instruction, 'source' | 'immediate'>,
    addend = 0,
  ): void {
    this.#instructions[index] = { ...this.#instructions[index], ...fields, nextImmediate: 0 };
    this.#relocations.push({ index, kind, symbol, addend });
  }

  #relate(index: number, { symbol }: ElfRelocation): void {
    const { opcode, immediate } = this.#instructions[index];
    if (symbol.section === SHN_COMMON) {
      throw this.#error(`${symbol.name} is a common symbol; give it a value, or compile with -fno-common`);
    }
    if (opcode === CALL) this.#relateCall(index, symbol, immediate);
    else if (opcode !== WIDE_LOAD)
      throw this.#error(`instruction ${index} refers to ${symbol.name} and is no wide load`);
    else if (symbol.section === SHN_UNDEF) this.#relateExtern(index, symbol.name);
    // Addends are unsigned: bytes from the beginning of a section.
    else this.#relateAddress(index, symbol, symbol.value + (immediate >>> 0));
  }

  #relateCall(index: number, symbol: ElfSymbol, immediate: number): void {
    if (symbol.section === SHN_UNDEF) {
      this.#put(index, 'kernelFunction', symbol.name, { source: BPF_PSEUDO_KFUNC_CALL, immediate: 0 });
    } else {
      this.#call(index, symbol.section, symbol.value + (immediate + 1) * INSTRUCTION_BYTES);
    }
  }

  #relateExtern(index: number, name: string): void {
    const place = this.#references.kconfig(name);
    if (place === null) {
      this.#put(index, 'kernelSymbol', name, { source: BPF_PSEUDO_BTF_ID, immediate: 0 });
    } else {
      this.#put(index, 'data', '.kconfig', { source: BPF_PSEUDO_MAP_VALUE, immediate: 0 }, place);
    }
  }

  #relateAddress(index: number, { name, section }: ElfSymbol, offset: number): void {
    const map = this.#references.mapAt(section, offset);
    const data = this.#references.dataSection(section);
    const target = functionAt(this.#functions, section, offset);
    if (map !== null) {
      this.#put(index, 'map', map, { source: BPF_PSEUDO_MAP_FD, immediate: 0 });
    } else if (data !== null) {
      this.#put(index, 'data', data, { source: BPF_PSEUDO_MAP_VALUE, immediate: 0 }, offset);
    } else if (target !== null) {
      this.#put(index, 'callback', target, { source: BPF_PSEUDO_FUNC, immediate: 0 });
    } else {
      throw this.#error(`instruction ${index} refers to ${name}, which is no map, data or function`);
    }
  }
}
