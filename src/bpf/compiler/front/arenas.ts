/**
 * Room `bpf`: memory in an arena: its pages, and pointers into it that lie in memory.
 *
 * A newcomer would get wrong: a pointer into an arena is the address that user space has, everywhere: in variables, in fields, in globals.
 * To the verifier that is a number. It becomes an address of the kernel's only in the access itself, which the builder sees to
 * (BPF_ADDR_SPACE_CAST), so that what is stored is what user space can follow.
 */
import { bytesOf, I32, type PointerType, type Type, U32, U64, VOID } from '../../types.ts';
import { type Located, refuse } from '../diagnostics.ts';
import type { Value } from '../ir.ts';
import { convert, operandOf } from './arithmetic.ts';
import type { Frame } from './frame.ts';
import { argumentsOf, type Call, type Expression } from './syntax.ts';
import { typeOf } from './types.ts';
import type { Unit } from './unit.ts';
import {
  computed,
  describe,
  isScalarType,
  NOTHING,
  nameOfType,
  type Operand,
  type Place,
  type Pointer,
  pointerTo,
  type Scalar,
} from './values.ts';

const PAGE_BYTES = 4096;
/** NUMA_NO_NODE: pages of any node. */
const ANY_NODE = -1;

const ADDRESS: PointerType = { kind: 'pointer', target: () => VOID };
/** Prototypes of the kernel's functions (kernel/bpf/arena.c). */
const ALLOCATE = {
  kind: 'kernel',
  name: 'bpf_arena_alloc_pages',
  parameters: [ADDRESS, ADDRESS, U32, I32, U64],
  result: ADDRESS,
} as const;
const FREE = {
  kind: 'kernel',
  name: 'bpf_arena_free_pages',
  parameters: [ADDRESS, ADDRESS, U32],
  result: VOID,
} as const;

/** The name of the object's arena. */
function arenaOf(frame: Frame, node: Located): string {
  const found = frame.unit.maps.find((map) => map.type === 'arena');
  if (found !== undefined) return found.name;
  return refuse(
    node,
    'a pointer that lies in memory of one’s own leads into an arena, and there is none',
    'export const pages = arena({ maxEntries: 16 })',
  );
}

/** What a pointer in memory of the program's own leads to. */
export function arenaPointer(frame: Frame, node: Located, place: Place, target: Type): Pointer {
  if (target.kind === 'struct' && target.relocatable) {
    refuse(
      node,
      'a pointer into the kernel cannot be followed from here',
      'keep its address as a u64, and read() that',
    );
  }
  arenaOf(frame, node);
  const value = frame.builder.load(8, false, place.address, 'arena', { offset: place.offset });
  return pointerTo(target, value, 'arena', { nullable: true });
}

/** Adds the types that pointers within a type lead to. */
function addTargets(found: Set<Type>, type: Type): void {
  switch (type.kind) {
    case 'pointer': {
      const target = type.target();
      if (found.has(target)) return;
      found.add(target);
      addTargets(found, target);
      return;
    }
    case 'array':
      addTargets(found, type.element);
      return;
    case 'struct':
      if (!type.relocatable) for (const field of type.fields) addTargets(found, field.type);
  }
}

/**
 * Whether what a pointer leads to lies in the arena by its type: some pointer in memory of the program's own, which only the arena is kept
 * for, leads to such.
 */
export function leadsIntoArena(unit: Unit, type: Type): boolean {
  if (!unit.maps.some((map) => map.type === 'arena')) return false;
  const found = new Set<Type>();
  for (const { values } of unit.modules.values()) {
    for (const value of values.values()) {
      if (value === 'pending') continue;
      if (value.kind === 'type') addTargets(found, value.type);
      else if (value.kind === 'global') addTargets(found, value.global.type);
      else if (value.kind === 'map' && value.map.spec.value !== null) addTargets(found, value.map.spec.value);
    }
  }
  return found.has(type);
}

/** A pointer as it lies in memory. */
export function storedPointer(frame: Frame, node: Located, place: Place, pointer: Pointer): Scalar {
  if (pointer.space !== 'arena') {
    refuse(
      node,
      `${describe(pointer)} lies in no arena, and pointers to elsewhere are not kept`,
      'keep what it points to',
    );
  }
  const target = (place.type as PointerType).target();
  const isSame = target.kind === 'void' || target === pointer.type || nameOfType(target) === nameOfType(pointer.type);
  if (!isSame) refuse(node, `${place.text} points to ${nameOfType(target)}, and this is ${describe(pointer)}`);
  return computed(U64, frame.settle(pointer));
}

/** How many pages: what is said, or what the type needs. */
function pagesOf(frame: Frame, type: Type, node: Expression | undefined): Value {
  const needed = Math.max(1, Math.ceil(bytesOf(type) / PAGE_BYTES));
  if (node === undefined) return frame.builder.constant(needed);
  const pages = convert(frame.builder, frame.scalar(node), U32);
  if (pages.constant !== null && pages.constant < BigInt(needed)) {
    refuse(node, `${nameOfType(type)} needs ${needed} pages`, 'leave the number out: the compiler knows it');
  }
  return operandOf(frame.builder, pages, 64);
}

function layoutOf(frame: Frame, node: Call, given: Expression | undefined): Type {
  if (given === undefined) refuse(node, 'a type is missing here', 'pass a struct or a type such as u32');
  return typeOf(given, (inner) => frame.expression(inner));
}

function pointerArgument(frame: Frame, node: Call, given: Expression | undefined): Pointer | null {
  if (given === undefined) refuse(node, 'a pointer into the arena is missing here');
  const operand = frame.value(given);
  if (operand.kind === 'null') return null;
  if (operand.kind === 'pointer' && operand.space === 'arena') return operand;
  return refuse(given, `${describe(operand)} does not lie in the arena`);
}

function allocate(frame: Frame, node: Call): Operand {
  const { builder, unit } = frame;
  const [typeNode, countNode] = argumentsOf(node);
  const type = layoutOf(frame, node, typeNode);
  const pages = pagesOf(frame, type, countNode);
  frame.at(node);
  unit.addKernelSymbol(ALLOCATE.name, 'function', false);
  const given = [
    builder.mapAddress(arenaOf(frame, node)),
    builder.constant(0),
    pages,
    builder.constant(ANY_NODE),
    builder.constant(0),
  ];
  return pointerTo(type, builder.call(ALLOCATE, given, 'arena'), 'arena', { nullable: true });
}

function free(frame: Frame, node: Call): Operand {
  const { builder, unit } = frame;
  const [memoryNode, countNode] = argumentsOf(node);
  const pointer = pointerArgument(frame, node, memoryNode);
  if (pointer === null) refuse(node, 'null is no memory to give back');
  const address = frame.settle(frame.present(node, pointer));
  const pages = pagesOf(frame, pointer.type, countNode);
  frame.at(node);
  unit.addKernelSymbol(FREE.name, 'function', false);
  builder.call(FREE, [builder.mapAddress(arenaOf(frame, node)), address, pages]);
  return NOTHING;
}

function at(frame: Frame, node: Call): Operand {
  const { builder } = frame;
  const [typeNode, addressNode] = argumentsOf(node);
  const type = layoutOf(frame, node, typeNode);
  if (addressNode === undefined) refuse(node, 'an address is missing here', 'pass a u64, or a u32 with its low half');
  const given = frame.scalar(addressNode);
  const isHalf = !given.literal && isScalarType(given.type) && bytesOf(given.type) <= 4;
  const number = operandOf(builder, convert(builder, given, isHalf ? U32 : U64), 64);
  frame.at(node);
  const address = isHalf
    ? builder.userAddress(number)
    : builder.binary('add', 64, number, builder.constant(0), 'arena');
  return pointerTo(type, address, 'arena', { nullable: true });
}

function addressOf(frame: Frame, node: Call): Operand {
  const pointer = pointerArgument(frame, node, argumentsOf(node)[0]);
  const value = pointer === null ? frame.builder.constant(0) : frame.settle(pointer);
  return computed(U64, value);
}

const methods: Readonly<Record<string, (frame: Frame, node: Call) => Operand>> = { allocate, free, at, addressOf };

/** Calls a method of an arena. */
export function callArena(frame: Frame, node: Call, name: string): Operand {
  const method = methods[name];
  if (method === undefined) refuse(node.callee, `arenas have no ${name}`);
  return method(frame, node);
}
