/**
 * Room `bpf`: a struct of the kernel's whose members are programs (struct_ops): a TCP congestion control, a scheduler.
 *
 * A newcomer would get wrong: the map's value is not the struct but a wrapper around it (`bpf_struct_ops_tcp_congestion_ops`), laid out by
 * the running kernel. What the object says is copied member by member, by name, to where this kernel has it.
 */
import { BPF_MAP_DELETE_ELEM, BPF_MAP_UPDATE_ELEM } from '../../kernel/bpf-abi.ts';
import { BPF_F_LINK } from '../../kernel/bpf-attributes.ts';
import { atLeast, kernelVersion } from '../../kernel/procfs.ts';
import { kernelBtf } from '../object/btf/kernel.ts';
import type { BtfMember } from '../object/btf/records.ts';
import type { MapSpec as ObjectMapSpec } from '../object/spec.ts';
import { bytesOf, type Field } from '../types.ts';
import { bpf, bpfError, stable } from './bpf.ts';
import { bytesCodec, type Holder } from './codec.ts';
import { type Attachment, createLink, type Link } from './links/link.ts';
import { createMapDescriptor, KernelMap, type MapSpec } from './map.ts';

/** Where the running kernel has a struct that programs may implement. */
export interface StructOpsTarget {
  /** The struct itself: attach_btf_id of its programs. */
  readonly typeId: number;
  /** The wrapper. */
  readonly wrapperId: number;
  readonly wrapperBytes: number;
  /** Where in the wrapper the struct lies. */
  readonly offset: number;
  readonly members: readonly BtfMember[];
}

/** Thrown where the running kernel cannot take the struct. */
export class StructOpsError extends Error {
  override readonly name = 'StructOpsError';
}

/** Finds a struct by its name. @throws StructOpsError where programs cannot implement it in this kernel */
export function structOpsTarget(name: string): StructOpsTarget {
  const kernel = kernelBtf();
  const [typeId] = kernel.byName(name, 'struct');
  const [wrapperId] = kernel.byName(`bpf_struct_ops_${name}`, 'struct');
  const struct = typeId === undefined ? null : kernel.type(typeId);
  const wrapper = wrapperId === undefined ? null : kernel.type(wrapperId);
  if (struct?.kind !== 'struct' || wrapper?.kind !== 'struct') {
    throw new StructOpsError(
      `programs cannot implement struct ${name} in this kernel: it has no bpf_struct_ops_${name}`,
    );
  }
  const data = wrapper.members.find((member) => kernel.resolve(member.type) === typeId);
  if (data === undefined)
    throw new StructOpsError(`bpf_struct_ops_${name} of this kernel does not hold struct ${name}`);
  return { typeId, wrapperId, wrapperBytes: wrapper.bytes, offset: data.offsetBits / 8, members: struct.members };
}

/** Which member of the kernel's struct a program is: attach_btf_id and expected_attach_type. */
export function structOpsMember(
  spec: ObjectMapSpec,
  program: string,
): { readonly typeId: number; readonly index: number } {
  const { structOps } = spec;
  const entry = structOps?.functions.find((one) => one.name === program);
  if (structOps === undefined || entry === undefined)
    throw new StructOpsError(`map ${spec.name} does not hold ${program}`);
  const target = structOpsTarget(structOps.type);
  const field = fieldsOf(spec).find(({ offset }) => offset === entry.offset);
  const index = target.members.findIndex((member) => member.name === field?.name);
  if (index === -1) {
    throw new StructOpsError(
      `struct ${structOps.type} of this kernel has no member ${field?.name ?? `at ${entry.offset}`}`,
    );
  }
  return { typeId: target.typeId, index };
}

function fieldsOf(spec: ObjectMapSpec): readonly Field[] {
  if (spec.value?.kind !== 'struct')
    throw new StructOpsError(`struct_ops map ${spec.name} does not say what its struct is`);
  return spec.value.fields;
}

/** Makes the map; its value is set when its programs are loaded. */
export function createStructOpsMap(spec: ObjectMapSpec, btf: number | null): KernelMap<unknown, unknown> {
  const target = structOpsTarget(spec.structOps?.type ?? spec.name);
  // map_create (kernel/bpf/syscall.c) wants a valid btf_fd beside the kernel's type.
  if (btf === null)
    throw new StructOpsError(`struct_ops map ${spec.name} is in an object without BTF, which the kernel wants`);
  const wanted: MapSpec = {
    type: 'struct_ops',
    keySize: 4,
    valueSize: target.wrapperBytes,
    maxEntries: 1,
    flags: hasLinks() ? spec.flags : spec.flags & ~BPF_F_LINK,
    name: spec.name,
    kernelValueTypeId: target.wrapperId,
    btf: { descriptor: btf, keyTypeId: 0, valueTypeId: 0 },
  };
  const codecs = { key: bytesCodec(4, 'key'), value: bytesCodec(target.wrapperBytes, 'value') };
  return new KernelMap(createMapDescriptor(wanted), wanted, codecs) as unknown as KernelMap<unknown, unknown>;
}

/** The wrapper's bytes: values where they lie in this kernel, and descriptors of programs in the place of functions. */
function wrapperBytes(spec: ObjectMapSpec, programOf: (name: string) => Holder | undefined): Uint8Array<ArrayBuffer> {
  const { structOps } = spec;
  if (structOps === undefined) throw new StructOpsError(`map ${spec.name} implements nothing`);
  const target = structOpsTarget(structOps.type);
  const value = stable(target.wrapperBytes);
  const view = new DataView(value.buffer);
  for (const field of fieldsOf(spec)) {
    const entry = structOps.functions.find(({ offset }) => offset === field.offset);
    const bytes = structOps.data.subarray(field.offset, field.offset + bytesOf(field.type));
    if (entry === undefined && bytes.every((one) => one === 0)) continue;
    const member = target.members.find(({ name }) => name === field.name);
    if (member === undefined)
      throw new StructOpsError(`struct ${structOps.type} of this kernel has no member ${field.name}`);
    const at = target.offset + member.offsetBits / 8;
    const program = entry === undefined ? undefined : programOf(entry.name);
    if (entry !== undefined && program === undefined)
      throw new StructOpsError(`${field.name}: ${entry.name} is not loaded`);
    if (program === undefined) value.set(bytes, at);
    else view.setBigUint64(at, BigInt(program.descriptor), true);
  }
  return value;
}

/** Sets the map's value. With BPF_F_LINK that only prepares it; without, it is in the kernel from now on until it is deleted. */
export function fillStructOps(spec: ObjectMapSpec, map: Holder, programOf: (name: string) => Holder | undefined): void {
  const result = bpf(BPF_MAP_UPDATE_ELEM, {
    map_fd: map.descriptor,
    key: stable(4),
    value: wrapperBytes(spec, programOf),
  });
  if (result < 0) throw bpfError(result, `registration of struct_ops ${spec.name}`);
}

/** Registers what a map without BPF_F_LINK holds, by setting its value. The kernel keeps it until the value is deleted. */
export function registerStructOps(
  spec: ObjectMapSpec,
  map: Holder,
  programOf: (name: string) => Holder | undefined,
): Attachment {
  fillStructOps(spec, map, programOf);
  return {
    kind: 'struct_ops',
    [Symbol.dispose]: () => {
      if (map.descriptor !== -1) bpf(BPF_MAP_DELETE_ELEM, { map_fd: map.descriptor, key: stable(4) });
    },
  };
}

/** Registers what a map made with BPF_F_LINK holds, as a link (Linux 6.4). */
export function attachStructOps(map: Holder, name: string): Link {
  return createLink({ kind: 'struct_ops', program: map, attachType: 'struct_ops', fields: {}, where: name });
}

/** Whether a map of this object is registered by a link. */
export function isLinked(spec: ObjectMapSpec): boolean {
  return (spec.flags & BPF_F_LINK) !== 0 && hasLinks();
}

/** Links of struct_ops are Linux 6.4; before that the map's value alone registers. */
function hasLinks(): boolean {
  return atLeast(kernelVersion(), 6, 4);
}
