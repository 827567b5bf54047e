/**
 * Runs a random program three ways (the VM, the kernel without and with optimisation) over packets and says where they differ.
 *
 * A newcomer would get wrong: the verdict alone would hide most mistakes. The packet, the values of both maps and every variable's
 * 64 bits at the end are compared.
 */

import { type Instruction, loadWide, VmMap, XdpMachine } from '../../src/bpf/assembly.ts';
import { generate } from '../../src/bpf/compiler/back/index.ts';
import type { IrFunction } from '../../src/bpf/compiler/ir.ts';
import { optimise } from '../../src/bpf/compiler/passes/index.ts';
import { createMap, loadProgram, type Program, VerifierError } from '../../src/bpf/index.ts';
import { BPF_PSEUDO_MAP_FD } from '../../src/kernel/bpf-abi.ts';
import { buildProgram } from './bpf-program-generator.ts';
import { RESULTS, type Statement, VALUES } from './bpf-program-statements.ts';
import type { RandomSource } from './random.ts';

const PACKET_BYTES = 64;

/** What a run leaves behind. Bytes in hexadecimal. */
export interface Outcome {
  readonly verdict: number;
  readonly packet: string;
  readonly values: readonly string[];
  readonly results: string;
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const keyOf = (index: number): Uint8Array => new Uint8Array(new Uint32Array([index]).buffer);

/** Instructions of a function, its maps being the given numbers. `cpu` as for `generate`. */
export function instructionsOf(irFunction: IrFunction, maps: ReadonlyMap<string, number>, cpu: 3 | 4): Instruction[] {
  const [compiled] = generate({ files: [], functions: [irFunction] }, { cpu });
  const instructions = [...compiled.instructions];
  for (const { index, symbol } of compiled.relocations) {
    instructions[index] = loadWide(instructions[index].destination, BigInt(maps.get(symbol)!), BPF_PSEUDO_MAP_FD);
  }
  return instructions;
}

/** A program's function, optimised. */
export function optimised(statements: readonly Statement[]): IrFunction {
  const irFunction = buildProgram(statements);
  optimise({ files: [], functions: [irFunction] });
  return irFunction;
}

const specs = [VALUES, RESULTS].map(({ name, valueBytes, entries }) => ({
  name,
  spec: { type: 'array', keySize: 4, valueSize: valueBytes, maxEntries: entries } as const,
}));

/** Outcomes over packets, one after the other: the maps keep their values. @throws VmFault */
export function runInVm(irFunction: IrFunction, packets: readonly Uint8Array[], cpu: 3 | 4): Outcome[] {
  const maps = new Map(specs.map(({ spec }, index) => [index + 1, new VmMap(spec)]));
  const numbers = new Map(specs.map(({ name }, index) => [name, index + 1]));
  const machine = new XdpMachine(instructionsOf(irFunction, numbers, cpu), { maps });
  return packets.map((packet) => {
    const { action, packet: after } = machine.run({ packet });
    const [values, results] = [maps.get(1)!, maps.get(2)!];
    return {
      verdict: action,
      packet: hex(after),
      values: Array.from({ length: VALUES.entries }, (_, index) => hex(values.get(keyOf(index))!)),
      results: hex(results.get(keyOf(0))!),
    };
  });
}

/** errno of a program that the verifier accepted and the JIT could not translate; not among user space's names. */
const ENOTSUPP = 524;

/**
 * Loads a function. About one in 15,000 random programs fails in the kernel's JIT, not in the verifier: arch/x86/net/bpf_jit_comp.c notes
 * “unexpected jmp_cond padding” in the kernel's log and gives up on that very sequence of jumps. The other instruction set has others.
 */
function load(irFunction: IrFunction, maps: ReadonlyMap<string, number>, cpu: 3 | 4): Program {
  try {
    return loadProgram({ type: 'xdp', instructions: instructionsOf(irFunction, maps, cpu) });
  } catch (error) {
    if (!(error instanceof VerifierError) || error.errno !== -ENOTSUPP) throw error;
    return loadProgram({ type: 'xdp', instructions: instructionsOf(irFunction, maps, cpu === 3 ? 4 : 3) });
  }
}

/** The same in the kernel. @throws VerifierError */
export function runInXdp(irFunction: IrFunction, packets: readonly Uint8Array[], cpu: 3 | 4): Outcome[] {
  using values = createMap(specs[0].spec);
  using results = createMap(specs[1].spec);
  const numbers = new Map([
    [VALUES.name, values.descriptor],
    [RESULTS.name, results.descriptor],
  ]);
  using program = load(irFunction, numbers, cpu);
  return packets.map((data) => {
    const { result, data: after } = program.testRun({ data });
    return {
      verdict: result,
      packet: hex(after),
      values: Array.from({ length: VALUES.entries }, (_, index) => hex(values.get(keyOf(index))!)),
      results: hex(results.get(keyOf(0))!),
    };
  });
}

/** Packets with bytes that are often 0, 1 or 255. */
export function drawPackets(random: RandomSource, count: number): Uint8Array[] {
  return Array.from({ length: count }, () => {
    const isDull = random.integer(3) === 0;
    return Uint8Array.from({ length: PACKET_BYTES }, () =>
      isDull || random.integer(4) === 0 ? [0, 1, 255, 128, 127][random.integer(5)] : random.integer(256),
    );
  });
}
