/**
 * Room `bpf`: a whole object in the VM: its maps, its variables, its programs, to be run in this process without
 * privilege, on any platform. What the loader is to the kernel, this is to tests.
 *
 * A newcomer would get wrong: kernel structs have the offsets of whoever compiled the object: there is no kernel here
 * to relocate them to. Memory of the kernel's that a test gives is laid out likewise.
 */
import { HELPERS } from '../../kernel/bpf-helpers.ts';
import type { ArenaMemory } from '../loader/arena-memory.ts';
import type { ObjectSpec } from '../object/spec.ts';
import { arenaFunctions } from './arena-functions.ts';
import { Environment } from './environment.ts';
import { Violation } from './fault.ts';
import type { Helper, HelperCall } from './helper-call.ts';
import { numbered } from './helper-table.ts';
import { helpersIn } from './helpers.ts';
import { bufferHelpers } from './helpers-buffer.ts';
import { dynptrHelpers } from './helpers-dynptr.ts';
import { redirectHelpers } from './helpers-redirect.ts';
import { skbHelpers } from './helpers-skb.ts';
import { skbShapeHelpers } from './helpers-skb-shape.ts';
import { socketHelpers } from './helpers-socket.ts';
import { xdpHelpers } from './helpers-xdp.ts';
import { Machine } from './machine.ts';
import { KERNEL_FUNCTION_FIRST, linkObject } from './object-link.ts';
import { CPUS, ObjectMaps, type VmVariable } from './object-maps.ts';
import { VmProgram } from './object-program.ts';
import type { VmObjectMap } from './typed-map.ts';
import type { World } from './world.ts';

/** Programs are given their context in r1; what else calls a function tells the analysis itself. */
const CONTEXT = 1 << 1;

export interface InstantiateOptions {
  /** Time, chance, the CPU, routes, sockets: see {@link World}. */
  readonly world?: World;
  /** Helpers in place of or beside the VM's, by number. */
  readonly helpers?: ReadonlyMap<number, Helper>;
  /** What the kernel's functions (kfuncs) do, by name. One that is called and not here is a fault, except an arena's. */
  readonly kernelFunctions?: Readonly<Record<string, (call: HelperCall) => void>>;
  /** Memory of the kernel's variables, by name. Weak ones that are not here have address 0. */
  readonly kernelSymbols?: Readonly<Record<string, Uint8Array>>;
  /** Values of `.rodata` variables, by name. */
  readonly constants?: Readonly<Record<string, unknown>>;
  /** Values of kconfig options: `{ CONFIG_HZ: '250' }`. Others are the running kernel's. */
  readonly kconfig?: Readonly<Record<string, string>>;
  /** Maps of another object to share, by name. */
  readonly maps?: Readonly<Record<string, VmObjectMap>>;
  /** Values that per-CPU maps have under a key; 2 unless told. */
  readonly cpus?: number;
  /** Instructions that one run may execute; 1,000,000 unless told. */
  readonly instructionsMax?: number;
  /** Whether reading stack that was never written is a fault; true unless told. Linux lets privileged programs do it since 6.3. */
  readonly checkStack?: boolean;
  /** Whether packets must be compared with data_end before they are accessed; true unless told. */
  readonly checkPackets?: boolean;
}

/** An object whose programs can be run. */
export interface VmObject {
  readonly programs: Readonly<Record<string, VmProgram>>;
  readonly maps: Readonly<Record<string, VmObjectMap>>;
  /** Global variables by name. */
  readonly variables: Readonly<Record<string, VmVariable>>;
  /** The memory of its arena, by the map's name. */
  readonly arenas: Readonly<Record<string, ArenaMemory>>;
  /**
   * Where programs see memory that a test gives, to be written as a pointer into other such memory: a task's parent, a socket's. The
   * same bytes have the same address in every run.
   */
  addressOf(memory: Uint8Array): bigint;
}

/** For helpers that the VM does not have: a program may contain them, and is stopped where it calls one. */
function missingHelpers(): Map<number, Helper> {
  const missing = Object.entries(HELPERS).map(([name, number]): [number, Helper] => [
    number,
    {
      name,
      arguments: 0,
      run() {
        throw new Violation(`calls bpf_${name}, which the VM does not have; give one as options.helpers`);
      },
    },
  ]);
  return new Map(missing);
}

/** Kernel functions by numbers, which they get in the order in which they are met. */
class KernelFunctions {
  readonly helpers = new Map<number, Helper>();
  readonly #given: NonNullable<InstantiateOptions['kernelFunctions']>;
  readonly #numbers = new Map<string, number>();

  constructor(given: InstantiateOptions['kernelFunctions'] = {}) {
    this.#given = given;
  }

  number(name: string): number {
    const known = this.#numbers.get(name);
    if (known !== undefined) return known;
    const number = KERNEL_FUNCTION_FIRST + this.#numbers.size;
    const run =
      this.#given[name] ??
      arenaFunctions[name] ??
      (() => {
        throw new Violation(
          `calls the kernel's ${name}, which the VM does not have; give it as options.kernelFunctions`,
        );
      });
    this.#numbers.set(name, number);
    this.helpers.set(number, { name, arguments: 0, run });
    return number;
  }
}

/**
 * Makes an object runnable.
 * @throws VmFault for instructions that could never run; ReferenceError for something that the object refers to and does not have;
 * RangeError for a map that only a kernel has
 * @example instantiate(readElf(bytes)).programs.filter.run({ packet }).action
 */
export function instantiate(spec: ObjectSpec, options: InstantiateOptions = {}): VmObject {
  const { world = {}, cpus = CPUS, kconfig = {}, kernelSymbols = {}, maps = {}, constants = {} } = options;
  const owned = new ObjectMaps(spec, { cpus, kconfig, kernelSymbols, maps });
  const kernelFunctions = new KernelFunctions(options.kernelFunctions);
  const linked = linkObject(spec, {
    map: (name) => owned.number(name),
    kernelFunction: (name) => kernelFunctions.number(name),
  });
  owned.fill(spec, (name) => linked.starts.get(name));
  for (const [name, value] of Object.entries(constants)) {
    const variable = owned.variables[name];
    if (variable === undefined) throw new ReferenceError(`the object has no variable ${name}`);
    variable.value = value;
  }
  const programs = spec.functions.filter(({ kind }) => kind !== null);
  const helpers = new Map([...missingHelpers(), ...helpersIn(world), ...kernelFunctions.helpers]);
  const machine = new Machine(linked.instructions, {
    maps: owned.byNumber,
    helpers,
    instructionsMax: options.instructionsMax,
    checkStack: options.checkStack,
    entries: programs.map(({ name }) => ({ slot: linked.starts.get(name) ?? 0, set: CONTEXT })),
    placeOf: linked.placeOf,
  });
  const environment = new Environment(machine, world);
  machine.addHelpers(
    numbered(
      bufferHelpers(environment),
      dynptrHelpers(environment),
      redirectHelpers(environment),
      skbHelpers(environment),
      skbShapeHelpers(environment),
      socketHelpers(environment),
      xdpHelpers(environment),
    ),
  );
  machine.addHelpers(options.helpers ?? new Map());
  const runnable = programs.map((one) => {
    const entry = linked.starts.get(one.name) ?? 0;
    return [one.name, new VmProgram(environment, one, entry, options.checkPackets ?? true)] as const;
  });
  return {
    programs: Object.fromEntries(runnable),
    maps: owned.maps,
    variables: owned.variables,
    arenas: owned.arenas,
    addressOf(memory) {
      const { low, high } = environment.memory(memory, 'the memory that was given').address();
      return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
    },
  };
}
