/**
 * Room `bpf`: reading and writing places: byte order, bit fields, the kernel's structs, copies.
 *
 * A newcomer would get wrong: the verifier wants stack accesses aligned even where the machine does not care, so a field of a packed
 * struct on the stack is read and written in pieces. Packets and map values may be accessed at any address.
 */
import { type ArrayType, bytesOf, I64, type IntegerType, type PointerType, type Type, U64, VOID } from '../../types.ts';
import { type Located, refuse } from '../diagnostics.ts';
import type { CoreRelocation, Value, Width } from '../ir.ts';
import { arenaPointer, storedPointer } from './arenas.ts';
import { convert, operandOf, swapConstant, wrap } from './arithmetic.ts';
import type { Frame } from './frame.ts';
import { bytesOfConstant, wordOf } from './initial-bytes.ts';
import {
  computed,
  describe,
  hostType,
  isScalarType,
  known,
  type Location,
  type Operand,
  type Place,
  type Pointer,
  pointerTo,
  type Scalar,
} from './values.ts';

const isBig = (type: Type): type is IntegerType => type.kind === 'integer' && type.order === 'big';

function relocationOf(place: Location): CoreRelocation | null {
  const { core } = place;
  if (core === null || core.path.length === 0) return null;
  return { struct: core.struct, path: core.path, kind: 'fieldByteOffset' };
}

/** The widest aligned access at `offset`, up to `bytes`. */
export function widthAt(location: Location, offset: number, bytes: number): Width {
  const at = location.offset + offset;
  // Accesses to a context are aligned to their width from its beginning, however the struct that names its fields is laid out.
  const isAligned = (width: number): boolean => {
    if (location.space === 'context') return at % width === 0;
    return location.space !== 'stack' || (location.alignment >= width && at % width === 0);
  };
  for (const width of [8, 4, 2] as const) {
    if (width <= bytes && isAligned(width)) return width;
  }
  return 1;
}

/** Reads `width` bytes as they lie there. */
function loadRaw(frame: Frame, place: Location, width: Width, signed: boolean): Value {
  const { builder } = frame;
  if (place.probe) return probe(frame, place, width, signed);
  const first = widthAt(place, 0, width);
  if (first === width) {
    const options = { offset: place.offset, relocation: relocationOf(place) };
    return builder.load(width, signed, place.address, 'scalar', options);
  }
  let whole = builder.load(first, false, place.address, 'scalar', { offset: place.offset });
  for (let at: number = first; at < width; ) {
    const next = widthAt(place, at, width - at);
    const piece = builder.load(next, false, place.address, 'scalar', { offset: place.offset + at });
    const shifted = builder.binary('shl', 64, piece, builder.constant(at * 8));
    whole = builder.binary('or', 64, whole, shifted);
    at += next;
  }
  return signed && width < 8 ? builder.unary('sext', width, whole) : whole;
}

/** Reads the kernel's memory where a program may not do so itself. */
function probe(frame: Frame, place: Location, width: Width, signed: boolean): Value {
  const { builder } = frame;
  const slot = builder.slot(width, width, 'read');
  probeInto(frame, builder.stackAddress(slot), place, width);
  return builder.load(width, signed, builder.stackAddress(slot));
}

const PROBE_READ_KERNEL = { kind: 'helper', id: 113, name: 'bpf_probe_read_kernel' } as const;

/** bpf_probe_read_kernel: what cannot be read is zero. */
export function probeInto(frame: Frame, destination: Value, place: Location, bytes: number): void {
  const { builder } = frame;
  const from = frame.addressOf(place);
  builder.call(PROBE_READ_KERNEL, [destination, builder.constant(bytes), from]);
}

/**
 * A bit field of a kernel's struct: where it begins and how wide it is are all found when the program is loaded. Read by
 * bpf_probe_read_kernel, as its bytes may be 1, 2, 4 or 8 (libbpf's BPF_CORE_READ_BITFIELD_PROBED does the same).
 */
function loadKernelBits(frame: Frame, place: Place, type: IntegerType): Scalar {
  const { builder } = frame;
  const relocation = relocationOf(place);
  if (relocation === null) throw new Error('a bit field without its struct');
  const found = (kind: CoreRelocation['kind'], value: number): Value =>
    builder.relocated({ ...relocation, kind }, BigInt(value));
  const { shift, count } = place.bits ?? { shift: 0, count: type.bytes * 8 };
  const slot = builder.slot(8, 8, 'bits');
  const address = builder.stackAddress(slot);
  builder.store(8, address, builder.constant(0));
  builder.call(PROBE_READ_KERNEL, [address, found('fieldByteSize', type.bytes), frame.addressOf(place)]);
  const whole = builder.load(8, false, address);
  const left = builder.binary('shl', 64, whole, found('fieldLeftShift', 64 - shift - count));
  const value = builder.binary(type.signed ? 'ashr' : 'lshr', 64, left, found('fieldRightShift', 64 - count));
  return convert(builder, computed(type.signed ? I64 : U64, value), type);
}

function loadBits(frame: Frame, place: Place, type: IntegerType): Scalar {
  const { builder } = frame;
  if (place.core !== null) return loadKernelBits(frame, place, type);
  const bits = place.bits ?? { shift: 0, count: type.bytes * 8 };
  const wide = type.bytes === 8 ? 64 : 32;
  let value = loadRaw(frame, place, type.bytes, false);
  if (type.signed) {
    const left = wide - bits.shift - bits.count;
    if (left > 0) value = builder.binary('shl', wide, value, builder.constant(left));
    value = builder.binary('ashr', wide, value, builder.constant(wide - bits.count));
    return computed(type, value);
  }
  if (bits.shift > 0) value = builder.binary('lshr', wide, value, builder.constant(bits.shift));
  const mask = (1n << BigInt(bits.count)) - 1n;
  if (bits.shift + bits.count < type.bytes * 8) {
    value = builder.binary('and', wide, value, builder.constant(wide === 32 ? BigInt.asIntN(32, mask) : mask));
  }
  return computed(type, value, [0n, mask]);
}

function loadPointer(frame: Frame, node: Located, place: Place): Operand {
  const { builder, unit } = frame;
  const options = { offset: place.offset, relocation: relocationOf(place) };
  if (place.pointer !== null) {
    const { space, struct, nullable, writable = false } = place.pointer;
    const width = bytesOf(place.type) as Width;
    const value = builder.load(width, false, place.address, space, options);
    const type = struct === null ? VOID : (unit.structNamed(struct) ?? VOID);
    return pointerTo(type, value, space, { nullable, writable, context: unit.viewOf(type) });
  }
  const target = (place.type as PointerType).target();
  if (place.probe) return pointerTo(target, probe(frame, place, 8, false), 'kernel', kernelPointer(target, true));
  if (place.space !== 'kernel' && place.space !== 'context') return arenaPointer(frame, node, place, target);
  const value = builder.load(8, false, place.address, 'kernel', options);
  // What an iterator is at is null at its end, while its seq_file never is (kernel/bpf: PTR_TO_BTF_ID_OR_NULL).
  const nullable = place.space === 'context' && place.core?.path[0] !== 'meta';
  // A context that programs may write leads to what they may write (raw_tracepoint.w).
  const writable = place.space === 'context' && place.writable;
  return pointerTo(target, value, 'kernel', { ...kernelPointer(target, false), nullable, writable });
}

/** How a pointer into the kernel behaves: not written through, and found by name where its struct is the kernel's. */
export function kernelPointer(target: Type, probes: boolean): Partial<Pointer> {
  const core = target.kind === 'struct' && target.relocatable ? { struct: target, path: [] } : null;
  return { writable: false, probe: probes, core };
}

/** What lies in a place: a number, a pointer, or a pointer to the struct or array itself. */
export function load(frame: Frame, node: Located, place: Place): Operand {
  const { type } = place;
  if (place.pointer !== null || type.kind === 'pointer') return loadPointer(frame, node, place);
  if (!isScalarType(type)) {
    const { address, offset, space, alignment, writable, core, probe: probes } = place;
    return pointerTo(type, address, space, { offset, alignment, writable, core, probe: probes, boxed: false });
  }
  if (place.bits !== null && type.kind === 'integer') return loadBits(frame, place, type);
  const width = bytesOf(type) as Width;
  const host = hostType(type);
  // Of an i32 the upper half may be anything, so nothing is extended before it is widened.
  const value = loadRaw(frame, place, width, type.kind === 'integer' && type.signed && width < 4);
  return computed(host, isBig(type) ? frame.builder.unary('swap', width, value) : value);
}

/** The bytes of a big-endian place, not swapped, for comparison with a swapped constant and for copies. */
export function loadUnswapped(frame: Frame, place: Place): Value {
  return loadRaw(frame, place, bytesOf(place.type) as Width, false);
}

/** Whether a place holds a number in network order. */
export function isSwapped(operand: Operand): operand is Place {
  return operand.kind === 'place' && operand.bits === null && operand.pointer === null && isBig(operand.type);
}

function storeRaw(frame: Frame, place: Location, width: Width, value: Value): void {
  const { builder } = frame;
  let rest = value;
  for (let at = 0; at < width; ) {
    const next = widthAt(place, at, width - at);
    builder.store(next, place.address, rest, { offset: place.offset + at, relocation: relocationOf(place) });
    at += next;
    if (at < width) rest = builder.binary('lshr', 64, rest, builder.constant(next * 8));
  }
}

function storeBits(frame: Frame, place: Place, type: IntegerType, scalar: Scalar): void {
  const { builder } = frame;
  const bits = place.bits ?? { shift: 0, count: type.bytes * 8 };
  const mask = ((1n << BigInt(bits.count)) - 1n) << BigInt(bits.shift);
  const wide = type.bytes === 8 ? 64 : 32;
  const number = (value: bigint): Value => builder.constant(wide === 32 ? BigInt.asIntN(32, value) : value);
  const before = builder.binary('and', wide, loadRaw(frame, place, type.bytes, false), number(~mask));
  let part: Value;
  if (scalar.constant !== null) {
    part = number((scalar.constant << BigInt(bits.shift)) & mask);
  } else {
    const value = operandOf(builder, convert(builder, scalar, type), wide);
    const shifted = bits.shift === 0 ? value : builder.binary('shl', wide, value, builder.constant(bits.shift));
    part = builder.binary('and', wide, shifted, number(mask));
  }
  storeRaw(frame, place, type.bytes, builder.binary('or', wide, before, part));
}

function requireWritable(node: Located, place: Location, text: string): void {
  if (place.writable) return;
  const advice =
    place.space === 'context' ? 'the kernel lets programs only read it' : 'copy it into local(…) and change that';
  refuse(node, `${text} cannot be written`, advice);
}

/** Writes a number to a place, cut to the place's type. */
export function store(frame: Frame, node: Located, place: Place, scalar: Scalar): void {
  const { builder } = frame;
  const { type } = place;
  requireWritable(node, place, place.text);
  if (!isScalarType(type)) refuse(node, `a number cannot be stored in ${describe(place)}`);
  if (place.bits !== null && type.kind === 'integer') {
    storeBits(frame, place, type, scalar);
    return;
  }
  const width = bytesOf(type) as Width;
  // A store takes the low bytes, so nothing is cut before it; what is wider is extended.
  const isNarrow = type.kind === 'integer' && width < 8;
  if (scalar.constant !== null) {
    const cut = wrap(scalar.constant, type);
    storeRaw(frame, place, width, builder.constant(isBig(type) ? swapConstant(cut, width) : cut));
    return;
  }
  const value = operandOf(builder, isNarrow ? scalar : convert(builder, scalar, hostType(type)), 64);
  storeRaw(frame, place, width, isBig(type) ? builder.unary('swap', width, value) : value);
}

/**
 * Copies an array of a context one element at a time. Where it lies is found when the program is loaded, and the kernel wants accesses to
 * contexts to be aligned to their width, at an offset in the instruction itself (check_ctx_access, kernel/bpf/verifier.c).
 */
function copyElements(
  frame: Frame,
  to: Place,
  from: Pointer,
  core: NonNullable<Location['core']>,
  { element, length }: ArrayType,
): void {
  const { builder } = frame;
  const width = bytesOf(element) as Width;
  for (let index = 0; index < length; index++) {
    const offset = from.offset + index * width;
    const relocation = { struct: core.struct, path: [...core.path, index], kind: 'fieldByteOffset' } as const;
    const value = builder.load(width, false, from.address, 'scalar', { offset, relocation });
    storeRaw(frame, { ...to, offset: to.offset + index * width }, width, value);
  }
}

/**
 * The widest access for reading at `offset` of what lies in `location`. Of an array in a context, or in a socket that the kernel gave, only
 * one element can be read at a time (*_is_valid_access, net/core/filter.c).
 */
export function readableAt({ type, space, core }: Pointer, location: Location, offset: number, bytes: number): Width {
  const isRewritten = (space === 'context' || space === 'kernel') && core === null;
  const most = isRewritten && type.kind === 'array' ? Math.min(bytes, bytesOf(type.element)) : bytes;
  return widthAt(location, offset, most);
}

/** What a helper read for a copy to where no helper writes. */
function probed(frame: Frame, from: Pointer, bytes: number): Pointer {
  const address = frame.builder.stackAddress(frame.builder.slot(bytes, 8, 'read'));
  probeInto(frame, address, from, bytes);
  return pointerTo(from.type, address, 'stack');
}

/** What is copied is written out as loads and stores of 8 bytes. */
const COPY_BYTES_MAX = 16_384;

/** Copies bytes, the widest aligned pieces first. */
export function copy(frame: Frame, node: Located, to: Place, from: Pointer): void {
  const { builder } = frame;
  requireWritable(node, to, to.text);
  const bytes = bytesOf(to.type);
  if (bytes > COPY_BYTES_MAX) {
    refuse(
      node,
      `${describe(from)} takes ${bytes} bytes, too many to be copied at once`,
      'copy the parts that you need',
    );
  }
  if (from.probe || from.core !== null) {
    if (from.core !== null && from.core.path.length === 0 && from.type.kind === 'struct' && from.type.relocatable) {
      refuse(
        node,
        `${from.type.name} is laid out by the kernel and cannot be copied whole`,
        'copy the fields that you need',
      );
    }
    if (from.probe) {
      if (to.space === 'arena') copy(frame, node, to, probed(frame, from, bytes));
      else probeInto(frame, frame.addressOf(to), from, bytes);
      return;
    }
  }
  if (from.space === 'context' && from.core !== null && from.type.kind === 'array' && isScalarType(from.type.element)) {
    copyElements(frame, to, from, from.core, from.type);
    return;
  }
  const source: Location =
    from.core === null ? from : { ...from, address: frame.addressOf(from), offset: 0, core: null };
  for (let at = 0; at < bytes; ) {
    const width = Math.min(widthAt(to, at, bytes - at), readableAt(from, source, at, bytes - at)) as Width;
    const value = builder.load(width, false, source.address, 'scalar', { offset: source.offset + at });
    builder.store(width, to.address, value, { offset: to.offset + at });
    at += width;
  }
}

/** Clears bytes. */
export function clear(frame: Frame, location: Location, from: number, to: number): void {
  const { builder } = frame;
  for (let at = from; at < to; ) {
    const width = widthAt(location, at, to - at);
    builder.store(width, location.address, builder.constant(0), { offset: location.offset + at });
    at += width;
  }
}

/** Writes bytes that are known now. */
function storeBytes(frame: Frame, location: Location, bytes: Uint8Array): void {
  const { builder } = frame;
  for (let at = 0; at < bytes.length; ) {
    const width = widthAt(location, at, bytes.length - at);
    const value = builder.constant(wordOf(bytes, at, width));
    builder.store(width, location.address, value, { offset: location.offset + at });
    at += width;
  }
}

/** Writes any operand to a place. A number from a place in network order to another is copied as it is. */
export function assign(frame: Frame, node: Located, place: Place, source: Operand): void {
  if (isSwapped(source) && isSwapped(place) && bytesOf(source.type) === bytesOf(place.type)) {
    requireWritable(node, place, place.text);
    storeRaw(frame, place, bytesOf(place.type) as Width, loadUnswapped(frame, source));
    return;
  }
  const operand = frame.rules.value(frame, node, source);
  if (operand.kind === 'scalar') {
    store(frame, node, place, operand);
    return;
  }
  if (operand.kind === 'null' && place.type.kind === 'pointer') {
    store(frame, node, { ...place, type: U64 }, known(U64, 0n));
    return;
  }
  if (operand.kind === 'pointer' && place.type.kind === 'pointer') {
    store(frame, node, { ...place, type: U64 }, storedPointer(frame, node, place, operand));
    return;
  }
  if ((operand.kind === 'list' || operand.kind === 'string') && place.type.kind === 'array') {
    requireWritable(node, place, place.text);
    storeBytes(frame, place, bytesOfConstant(node, place.type, operand));
    return;
  }
  if (operand.kind !== 'pointer') refuse(node, `${describe(operand)} cannot be stored in ${describe(place)}`);
  frame.present(node, operand);
  if (bytesOf(operand.type) !== bytesOf(place.type) || operand.type.kind !== place.type.kind) {
    refuse(node, `${describe(operand)} cannot be stored in ${describe(place)}`, 'the types must be the same');
  }
  copy(frame, node, place, operand);
}
