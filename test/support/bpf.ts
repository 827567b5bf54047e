/**
 * Test support for the room `bpf`: the cases of `../shared/bpf-conformance`, whether this process may load programs, and a way to
 * get all 64 bits of a program's result out of the kernel.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { exit, type Instruction, instruction, loadWide, moveImmediate } from '../../src/bpf/assembly.ts';
import { createMap, loadProgram } from '../../src/bpf/index.ts';
import {
  BPF_CALL,
  BPF_DW,
  BPF_JMP,
  BPF_MEM,
  BPF_PSEUDO_CALL,
  BPF_PSEUDO_MAP_VALUE,
  BPF_STX,
} from '../../src/kernel/bpf-abi.ts';
import { KernelError } from '../../src/kernel/error.ts';

const directory = new URL('../../../shared/bpf-conformance/', import.meta.url);

/** The reason to skip, or false. */
export const conformanceSkip: string | false = existsSync(directory)
  ? false
  : 'no ../shared/bpf-conformance beside the project';

export interface BpfCase {
  readonly name: string;
  readonly assembly: string | undefined;
  /** Instruction words, where there is no text. */
  readonly raw: readonly bigint[] | undefined;
  readonly memory: Uint8Array;
  readonly result: bigint | undefined;
  /** The program must be refused or fail. */
  readonly isError: boolean;
}

function sectionsOf(text: string): Map<string, string[]> {
  const sections = new Map<string, string[]>();
  let lines: string[] = [];
  for (const line of text.split(/\r?\n/)) {
    const heading = /^-- (.+)$/.exec(line);
    if (heading !== null) {
      lines = [];
      sections.set(heading[1].trim(), lines);
    } else if (!line.startsWith('#')) {
      lines.push(line);
    } else {
      // Kept as an empty line, so that an error's line counts from the section's heading.
      lines.push('');
    }
  }
  return sections;
}

function parseCase(name: string, text: string): BpfCase {
  const sections = sectionsOf(text);
  const wordsOf = (section: string) => sections.get(section)?.join(' ').trim().split(/\s+/).filter(Boolean);
  const memory = wordsOf('mem')?.flatMap((digits) => digits.match(/../g) ?? []) ?? [];
  const [result] = wordsOf('result') ?? [];
  return {
    name,
    assembly: sections.get('asm')?.join('\n'),
    raw: wordsOf('raw')?.map((word) => BigInt(word)),
    memory: Uint8Array.from(memory, (digits) => Number.parseInt(digits, 16)),
    result: result === undefined ? undefined : BigInt(/^0x/i.test(result) ? result : `0x${result}`),
    isError: sections.has('error'),
  };
}

/** Every case; none where the collection is absent. */
export function bpfCases(): BpfCase[] {
  if (conformanceSkip !== false) return [];
  const files = readdirSync(directory).filter((file) => file.endsWith('.data'));
  return files
    .sort()
    .map((file) => parseCase(file.replace('.data', ''), readFileSync(new URL(file, directory), 'utf8')));
}

function findKernelSkip(): string | false {
  try {
    using _program = loadProgram({ type: 'socket_filter', instructions: [moveImmediate(0, 0), exit()] });
    return false;
  } catch (error) {
    if (error instanceof KernelError) return `this process may not load eBPF programs: ${error.message}`;
    throw error;
  }
}

/** Why nothing can be loaded here, or false. */
export const kernelSkip: string | false = findKernelSkip();

const RESULT_BYTES = 8;

/**
 * Runs instructions in the kernel and returns all of r0. They become a function, called with r1 pointing to `memory` (in the
 * value of an array, behind the place for the result) and r2 its length; what calls them stores their result.
 * @throws VerifierError where the verifier refuses them
 */
export function runInKernel(instructions: readonly Instruction[], memory: Uint8Array): bigint {
  using map = createMap({
    type: 'array',
    keySize: 4,
    valueSize: RESULT_BYTES + Math.max(8, memory.length),
    maxEntries: 1,
  });
  const key = new Uint8Array(4);
  const value = new Uint8Array(map.spec.valueSize);
  value.set(memory, RESULT_BYTES);
  map.set(key, value);
  const address = (register: number, at: number) =>
    loadWide(register, BigInt(map.descriptor) | (BigInt(at) << 32n), BPF_PSEUDO_MAP_VALUE);
  const around = [
    address(1, RESULT_BYTES),
    moveImmediate(2, memory.length),
    // The function begins five slots after the call's end.
    instruction(BPF_JMP | BPF_CALL, { source: BPF_PSEUDO_CALL, immediate: 5 }),
    address(6, 0),
    instruction(BPF_STX | BPF_MEM | BPF_DW, { destination: 6, source: 0 }),
    moveImmediate(0, 0),
    exit(),
  ];
  using program = loadProgram({ type: 'socket_filter', instructions: [...around, ...instructions] });
  program.testRun({ data: new Uint8Array(64) });
  const after = map.get(key)!;
  return new DataView(after.buffer, after.byteOffset).getBigUint64(0, true);
}
