/**
 * Room `bpf`: the compiler's back end: IR in, eBPF instructions out, function by function.
 *
 * A newcomer would get wrong: the result is not loadable yet. Maps, data and calls are relocations by name, which the object's
 * writer and the loader fill; the IR is left as it was.
 */
import type { Instruction } from '../../instructions.ts';
import type { RegisterNames, Relocation } from '../../object/spec.ts';
import { bytesOf } from '../../types.ts';
import type { CoreRelocation, IrFunction, IrModule, Location } from '../ir.ts';
import { allocate } from './allocate.ts';
import { emit } from './emit.ts';
import { bridge } from './far-jumps.ts';
import { layOut } from './layout.ts';
import { type Cpu, type SelectOptions, select } from './select.ts';
import { checkStack } from './stack.ts';

export { BackEndError } from './error.ts';
export type { Cpu } from './select.ts';

/** Code of one function, in the module's order. Positions are indices into `instructions`. */
export interface CompiledFunction {
  readonly name: string;
  readonly linkage: 'global' | 'static';
  /** Jumps are final, in slots. */
  readonly instructions: Instruction[];
  readonly relocations: Relocation[];
  /** Where the source's place changes; the first is at 0 if any place is known. */
  readonly lines: { readonly index: number; readonly location: Location }[];
  readonly core: { readonly index: number; readonly relocation: CoreRelocation }[];
  /** Where the names change: each entry holds until the next. */
  readonly registerNames: RegisterNames[];
  /** Bytes of its own frame. */
  readonly stackBytes: number;
}

/** Options of {@link generate}. */
export interface GenerateOptions {
  /** The instruction set: 3 is known to every kernel since 5.1, 4 needs 6.6. 3 unless told. */
  readonly cpu?: Cpu;
}

/**
 * Turns a module into instructions.
 * @throws BackEndError for too much stack, recursion, and jumps that are too far
 */
export function generate(module: IrModule, { cpu = 3 }: GenerateOptions = {}): CompiledFunction[] {
  const called = calledFunctions(module);
  const compiled = module.functions.map((target) => {
    // The kernel reads 32 bits of a program's result; this module's callers read all.
    const returnsHigh = called.has(target.name) || bytesOf(target.signature.result) > 4;
    return generateFunction(target, { cpu, returnsHigh, arena: module.arena });
  });
  const bytes = new Map(compiled.map(({ name, stackBytes }) => [name, stackBytes]));
  checkStack(module, (name) => bytes.get(name) ?? 0);
  return compiled;
}

function generateFunction(target: IrFunction, options: SelectOptions): CompiledFunction {
  const { cpu } = options;
  const code = select(target, options);
  const allocation = allocate(code);
  layOut(code, allocation);
  if (cpu === 4) bridge(code);
  const emitted = emit(code, allocation, cpu === 4, target.location);
  return { name: target.name, linkage: target.linkage, ...emitted, stackBytes: code.frameBytes };
}

/** Functions that are called, or whose address is taken. */
function calledFunctions(module: IrModule): Set<string> {
  const called = new Set<string>();
  for (const { blocks } of module.functions) {
    for (const value of blocks.flatMap(({ operations }) => operations)) {
      if (value.kind === 'functionAddress') called.add(value.function);
      else if (value.kind === 'call' && value.target.kind === 'function') called.add(value.target.name);
    }
  }
  return called;
}
