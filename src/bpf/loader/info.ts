/**
 * Room `bpf`: what the kernel says about its maps, programs and links (BPF_OBJ_GET_INFO_BY_FD), and handles by their ids.
 *
 * A newcomer would get wrong: ids are the whole machine's, not this process's, and a number is used again after its object has gone.
 */
import * as abi from '../../kernel/bpf-attributes.ts';
import { ATTACH_TYPES, LINK_TYPES, MAP_TYPES, nameIn, PROGRAM_TYPES } from '../../kernel/bpf-names.ts';
import { ERRNO } from '../../kernel/errno.ts';
import { addressOf } from '../../kernel/syscall.ts';
import { answer, bpf, bpfError, stable, textOf } from './bpf.ts';

/** Larger than each of the kernel's info structures; what it does not fill stays zero. */
const INFO_BYTES = 512;

/** The kernel's structure about what a descriptor holds. @throws KernelError: EBADF */
export function infoOf(descriptor: number, what: string): DataView {
  const info = stable(INFO_BYTES);
  const fields = { 'info.bpf_fd': descriptor, 'info.info_len': INFO_BYTES, 'info.info': info } as const;
  const result = bpf(abi.BPF_OBJ_GET_INFO_BY_FD, fields);
  if (result < 0) throw bpfError(result, `information about ${what}`);
  return new DataView(info.buffer, info.byteOffset, INFO_BYTES);
}

function textIn(view: DataView, at: number, bytes: number): string {
  return textOf(new Uint8Array(view.buffer as ArrayBuffer, view.byteOffset + at, bytes));
}

export interface MapInfo {
  readonly id: number;
  /** As in MAP_TYPES; the number where that has no name for it. */
  readonly type: string;
  readonly name: string;
  readonly keyBytes: number;
  readonly valueBytes: number;
  readonly maxEntries: number;
  readonly flags: number;
  /** 0 for none. */
  readonly btfId: number;
  readonly keyTypeId: number;
  readonly valueTypeId: number;
  readonly extra: bigint;
}

export function mapInfo(descriptor: number): MapInfo {
  const view = infoOf(descriptor, 'a map');
  const at = abi.BPF_MAP_INFO;
  const word = (offset: number): number => view.getUint32(offset, true);
  return {
    id: word(at.id),
    type: nameIn(MAP_TYPES, word(at.type)) ?? String(word(at.type)),
    name: textIn(view, at.name, 16),
    keyBytes: word(at.key_size),
    valueBytes: word(at.value_size),
    maxEntries: word(at.max_entries),
    flags: word(at.map_flags),
    btfId: word(at.btf_id),
    keyTypeId: word(at.btf_key_type_id),
    valueTypeId: word(at.btf_value_type_id),
    extra: view.getBigUint64(at.map_extra, true),
  };
}

export interface ProgramInfo {
  readonly id: number;
  readonly type: string;
  readonly name: string;
  /** 16 hexadecimal digits: a hash of the instructions. */
  readonly tag: string;
  /** Bytes of the instructions after the verifier's rewriting, and as machine code (0 without the JIT). */
  readonly translatedBytes: number;
  readonly compiledBytes: number;
  readonly mapCount: number;
  readonly btfId: number;
  /** How many instructions the verifier went through. */
  readonly verifiedInstructions: number;
  /** Only counted while kernel.bpf_stats_enabled is 1. */
  readonly runTimeNs: bigint;
  readonly runCount: bigint;
  readonly recursionMisses: bigint;
}

export function programInfo(descriptor: number): ProgramInfo {
  const view = infoOf(descriptor, 'a program');
  const at = abi.BPF_PROG_INFO;
  const word = (offset: number): number => view.getUint32(offset, true);
  return {
    id: word(at.id),
    type: nameIn(PROGRAM_TYPES, word(at.type)) ?? String(word(at.type)),
    name: textIn(view, at.name, 16),
    tag: Buffer.from(view.buffer as ArrayBuffer, view.byteOffset + at.tag, 8).toString('hex'),
    translatedBytes: word(at.xlated_prog_len),
    compiledBytes: word(at.jited_prog_len),
    mapCount: word(at.nr_map_ids),
    btfId: word(at.btf_id),
    verifiedInstructions: word(at.verified_insns),
    runTimeNs: view.getBigUint64(at.run_time_ns, true),
    runCount: view.getBigUint64(at.run_cnt, true),
    recursionMisses: view.getBigUint64(at.recursion_misses, true),
  };
}

export interface LinkInfo {
  readonly id: number;
  /** As in LINK_TYPES. */
  readonly type: string;
  readonly programId: number;
  /** The hook, for links that say: as in ATTACH_TYPES. */
  readonly attachType: string | null;
  /** The interface, for xdp, tcx and netkit; 0 once it has gone. */
  readonly interfaceIndex: number | null;
  /** For cgroup links. */
  readonly cgroupId: bigint | null;
  /** For netns links: the inode of the namespace; 0 once it has gone. */
  readonly namespaceInode: number | null;
  /** For struct_ops links. */
  readonly mapId: number | null;
}

/** Where the kinds of links keep what they say, in struct bpf_link_info. */
const hookAt: Readonly<Record<string, { readonly attach?: number; readonly index?: number }>> = {
  tracing: { attach: abi.BPF_LINK_INFO['tracing.attach_type'] },
  cgroup: { attach: abi.BPF_LINK_INFO['cgroup.attach_type'] },
  netns: { attach: abi.BPF_LINK_INFO['netns.attach_type'] },
  xdp: { index: abi.BPF_LINK_INFO['xdp.ifindex'] },
  tcx: { attach: abi.BPF_LINK_INFO['tcx.attach_type'], index: abi.BPF_LINK_INFO['tcx.ifindex'] },
  netkit: { attach: abi.BPF_LINK_INFO['netkit.attach_type'], index: abi.BPF_LINK_INFO['netkit.ifindex'] },
};

export function linkInfo(descriptor: number): LinkInfo {
  const view = infoOf(descriptor, 'a link');
  const at = abi.BPF_LINK_INFO;
  const word = (offset: number): number => view.getUint32(offset, true);
  const type = nameIn(LINK_TYPES, word(at.type)) ?? String(word(at.type));
  const { attach, index } = hookAt[type] ?? {};
  return {
    id: word(at.id),
    type,
    programId: word(at.prog_id),
    attachType: attach === undefined ? null : nameIn(ATTACH_TYPES, word(attach)),
    interfaceIndex: index === undefined ? null : word(index),
    cgroupId: type === 'cgroup' ? view.getBigUint64(at['cgroup.cgroup_id'], true) : null,
    namespaceInode: type === 'netns' ? word(at['netns.netns_ino']) : null,
    mapId: type === 'struct_ops' ? word(at['struct_ops.map_id']) : null,
  };
}

/** BTF that is in the kernel. */
export interface BtfInfo {
  readonly id: number;
  /** `vmlinux`, a module's name, or empty for a program's. */
  readonly name: string;
  /** The kernel's or a module's. */
  readonly isKernel: boolean;
}

const BTF_INFO_BYTES = 32;
/** MODULE_NAME_LEN. */
const MODULE_NAME_BYTES = 64;

export function btfInfo(descriptor: number): BtfInfo {
  const at = abi.BPF_BTF_INFO;
  const info = stable(BTF_INFO_BYTES);
  const name = stable(MODULE_NAME_BYTES);
  const view = new DataView(info.buffer);
  view.setBigUint64(at.name, BigInt(addressOf(name)), true);
  view.setUint32(at.name_len, MODULE_NAME_BYTES, true);
  const fields = { 'info.bpf_fd': descriptor, 'info.info_len': BTF_INFO_BYTES, 'info.info': info } as const;
  const result = bpf(abi.BPF_OBJ_GET_INFO_BY_FD, fields);
  if (result < 0) throw bpfError(result, 'information about BTF');
  return { id: view.getUint32(at.id, true), name: textOf(name), isKernel: view.getUint32(at.kernel_btf, true) !== 0 };
}

const byId = {
  map: { open: abi.BPF_MAP_GET_FD_BY_ID, next: abi.BPF_MAP_GET_NEXT_ID },
  program: { open: abi.BPF_PROG_GET_FD_BY_ID, next: abi.BPF_PROG_GET_NEXT_ID },
  link: { open: abi.BPF_LINK_GET_FD_BY_ID, next: abi.BPF_LINK_GET_NEXT_ID },
  btf: { open: abi.BPF_BTF_GET_FD_BY_ID, next: abi.BPF_BTF_GET_NEXT_ID },
} as const;

export type ObjectKind = keyof typeof byId;

/** A new descriptor of the object with this id; null where none has it. The caller closes it. @throws KernelError: EPERM */
export function openById(kind: ObjectKind, id: number): number | null {
  const result = bpf(byId[kind].open, { start_id: id });
  if (result === -ERRNO.ENOENT) return null;
  if (result < 0) throw bpfError(result, `${kind} with id ${id}`);
  return result;
}

/** The ids of all objects of a kind on this machine, in order. @throws KernelError: EPERM without CAP_SYS_ADMIN */
export function* idsOf(kind: ObjectKind): Generator<number> {
  for (let id = 0; ; ) {
    const result = bpf(byId[kind].next, { start_id: id });
    if (result === -ERRNO.ENOENT) return;
    if (result < 0) throw bpfError(result, `ids of ${kind}s`);
    id = answer('next_id');
    yield id;
  }
}
