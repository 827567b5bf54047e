/**
 * Test support: a program that calls one helper with what its definition in `src/bpf/library/` says that it takes, so that the verifier
 * says whether that is so.
 *
 * A newcomer would get wrong: the program is never run. All that counts is whether the verifier takes each register for what the
 * definition says: a context, a number, a map, memory and its size.
 */
import { exit, type Instruction, instruction, loadWide, move, moveImmediate } from '../../src/bpf/assembly.ts';
import { createMap } from '../../src/bpf/index.ts';
import type { HelperDefinition, HelperParameter } from '../../src/bpf/library/definitions.ts';
import * as abi from '../../src/kernel/bpf-abi.ts';
import type { MapTypeName } from '../../src/kernel/bpf-names.ts';

/** Where the zeroed memory begins, and how much of it there is. */
const MEMORY = -64;
/** What is said of memory's size: a multiple of 4, as bpf_csum_diff wants. */
const SIZE = 8;
const CONTEXT = 6;
const FRAME = 10;

type Map = Disposable & { readonly descriptor: number };

const shapes: Readonly<Record<string, readonly [key: number, value: number, entries: number]>> = {
  queue: [0, 8, 4],
  stack: [0, 8, 4],
  bloom_filter: [0, 8, 4],
  ringbuf: [0, 0, 4096],
  perf_event_array: [4, 4, 1],
  prog_array: [4, 4, 1],
  stack_trace: [4, 64, 1],
  percpu_hash: [4, 8, 4],
};

/** A map of the first kind that the helper takes; a hash where it takes any. */
function mapFor({ types }: HelperParameter & { kind: 'map' }): Map {
  const type = (types[0] ?? 'hash') as MapTypeName;
  const [keySize, valueSize, maxEntries] = shapes[type] ?? [4, type === 'hash' ? 8 : 4, 4];
  return createMap({ type, keySize, valueSize, maxEntries });
}

const call = (id: number): Instruction => instruction(abi.BPF_JMP | abi.BPF_CALL, { immediate: id });

/** The address of memory on the stack. */
const address = (register: number): Instruction[] => [
  move(register, FRAME),
  instruction(abi.BPF_ALU64 | abi.BPF_ADD | abi.BPF_K, { destination: register, immediate: MEMORY }),
];

/** Loads a parameter's registers, from `register` on. Null where nothing can be made of it here. */
function load(parameter: HelperParameter, register: number, map: Map | null): Instruction[] | null {
  switch (parameter.kind) {
    case 'context':
      return [move(register, CONTEXT)];
    case 'scalar':
    case 'address':
      return [moveImmediate(register, 0)];
    case 'constant':
      return [moveImmediate(register, SIZE)];
    case 'map':
      return map === null ? null : [loadWide(register, BigInt(map.descriptor), abi.BPF_PSEUDO_MAP_FD)];
    case 'key':
    case 'value':
      return parameter.nullable === true ? [moveImmediate(register, 0)] : address(register);
    case 'memory':
      return [...address(register), moveImmediate(register + 1, SIZE)];
    case 'struct':
      return address(register);
    case 'pointer':
      return parameter.nullable
        ? [moveImmediate(register, 0)]
        : parameter.struct === null
          ? [move(register, CONTEXT)]
          : null;
    default:
      return null;
  }
}

/** Where a context has its packet's ends. */
export interface PacketFields {
  readonly width: typeof abi.BPF_W | typeof abi.BPF_DW;
  readonly data: number;
  readonly dataEnd: number;
}

const PACKET = 7;

/** Puts a pointer to the packet's first byte into a register that calls keep, and leaves the program where there is none. */
function checkedPacket({ width, data, dataEnd }: PacketFields): Instruction[] {
  const field = (destination: number, offset: number): Instruction =>
    instruction(abi.BPF_LDX | abi.BPF_MEM | width, { destination, source: CONTEXT, offset });
  return [
    field(PACKET, data),
    field(8, dataEnd),
    move(0, PACKET),
    instruction(abi.BPF_ALU64 | abi.BPF_ADD | abi.BPF_K, { destination: 0, immediate: 1 }),
    instruction(abi.BPF_JMP | abi.BPF_JLE | abi.BPF_X, { destination: 0, source: 8, offset: 2 }),
    moveImmediate(0, 0),
    exit(),
  ];
}

const readPacket = instruction(abi.BPF_LDX | abi.BPF_MEM | abi.BPF_B, { destination: 0, source: PACKET });

/** A call and what it needs. To be closed, for its map. */
export interface HelperCall extends Disposable {
  readonly instructions: readonly Instruction[];
}

export interface HelperCallOptions {
  /** The helper that gives back what this one got. */
  readonly release?: number;
  /** Reads the packet after the call by a pointer from before it. */
  readonly packet?: PacketFields;
}

/**
 * A program that calls the helper; null where a parameter cannot be made here.
 * @throws KernelError for a map that cannot be made without BTF
 */
export function callOf({ id, parameters }: HelperDefinition, options: HelperCallOptions = {}): HelperCall | null {
  const { release, packet } = options;
  const taken = parameters.find((parameter) => parameter.kind === 'map');
  const map = taken === undefined ? null : mapFor(taken);
  const close = (): void => map?.[Symbol.dispose]();
  const zero = moveImmediate(0, 0);
  const clear = Array.from({ length: -MEMORY / 8 }, (_, index) =>
    instruction(abi.BPF_STX | abi.BPF_MEM | abi.BPF_DW, { destination: FRAME, source: 0, offset: MEMORY + index * 8 }),
  );
  const loads: Instruction[] = [];
  let register = 1;
  for (const parameter of parameters) {
    const loaded = load(parameter, register, map);
    if (loaded === null) {
      close();
      return null;
    }
    loads.push(...loaded);
    register += parameter.kind === 'memory' ? 2 : 1;
  }
  const skip = instruction(abi.BPF_JMP | abi.BPF_JEQ | abi.BPF_K, { destination: 0, immediate: 0, offset: 3 });
  const giveBack = release === undefined ? [] : [skip, move(1, 0), moveImmediate(2, 0), call(release)];
  const before = packet === undefined ? [] : checkedPacket(packet);
  const after = packet === undefined ? [] : [readPacket];
  const body = [...before, zero, ...clear, ...loads, call(id), ...giveBack, ...after, zero, exit()];
  return { instructions: [move(CONTEXT, 1), ...body], [Symbol.dispose]: close };
}
