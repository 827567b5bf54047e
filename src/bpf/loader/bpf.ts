/**
 * Room `bpf`: bpf(2) itself: one argument block that each command fills, and errors that name what is missing.
 *
 * A newcomer would get wrong: the kernel reads the block as far as the size given and refuses what it does not know unless it is
 * zero (E2BIG). So one size serves every kernel, as long as the block is cleared for each command.
 */
import { BPF_ATTR } from '../../kernel/bpf-attributes.ts';
import { ERRNO } from '../../kernel/errno.ts';
import { KernelError } from '../../kernel/error.ts';
import { statusField } from '../../kernel/procfs.ts';
import { addressOf, call, SYS } from '../../kernel/syscall.ts';

/** Ample for the last field of BPF_ATTR; a multiple of 8. */
const BPF_ATTR_BYTES = 128;

const block = new DataView(new ArrayBuffer(BPF_ATTR_BYTES));
const words = new Int32Array(block.buffer);
const base = addressOf(block);
const HIGH = 4294967296;

const PRIVILEGES =
  'CAP_BPF is needed, with CAP_NET_ADMIN for network programs and CAP_PERFMON for tracing (or run as root)';

/** A field's value: a 32-bit number, a 64-bit number, or memory whose address the kernel gets. */
export type AttributeValue = number | bigint | Uint8Array;

export type Attribute = keyof typeof BPF_ATTR;

/** Keeps the memory of a call's pointers from being collected before the kernel has used it. */
const inUse: { memory: unknown } = { memory: null };

/** Names lie in the block itself, not behind a pointer. */
const inPlace: ReadonlySet<string> = new Set(['prog_name', 'map_name']);

/**
 * Makes one call. Memory must be an ArrayBuffer's of 64 bytes or more (`stable`), which does not move.
 * @returns the result, or -errno
 */
export function bpf(command: number, fields: Partial<Record<Attribute, AttributeValue>>): number {
  words.fill(0);
  inUse.memory = fields;
  for (const [name, value] of Object.entries(fields)) {
    const at = BPF_ATTR[name as Attribute];
    if (typeof value === 'number') block.setUint32(at, value, true);
    else if (typeof value === 'bigint') block.setBigUint64(at, BigInt.asUintN(64, value), true);
    else if (inPlace.has(name)) new Uint8Array(block.buffer).set(value, at);
    else block.setBigUint64(at, BigInt(addressOf(value)), true);
  }
  const result = call(SYS.bpf, command, base, BPF_ATTR_BYTES);
  inUse.memory = null;
  return result;
}

function pointer(at: number, address: number): void {
  words[at / 4] = address | 0;
  words[at / 4 + 1] = (address / HIGH) | 0;
}

/**
 * One of the commands over an element of a map (look-up, update, deletion, next key), by addresses: these are made often, and cost
 * no object here. `key` 0 stands for none.
 */
export function bpfElement(command: number, map: number, key: number, value: number, flags: number): number {
  words.fill(0, 0, BPF_ATTR.flags / 4 + 2);
  words[BPF_ATTR.map_fd / 4] = map;
  pointer(BPF_ATTR.key, key);
  pointer(BPF_ATTR.value, value);
  words[BPF_ATTR.flags / 4] = flags;
  // CHECK_ATTR (kernel/bpf/syscall.c) wants zeroes behind the command's last field; so far is what was cleared above.
  return call(SYS.bpf, command, base, BPF_ATTR.flags + 8);
}

/** A 32-bit field that the kernel wrote in the last call. */
export function answer(name: Attribute): number {
  return block.getUint32(BPF_ATTR[name], true);
}

/** Bytes at an address that stays: V8 keeps an ArrayBuffer of 64 bytes and more outside of its moving heap. */
export function stable(content: Uint8Array | number): Uint8Array<ArrayBuffer> {
  const length = typeof content === 'number' ? content : content.length;
  const bytes = new Uint8Array(new ArrayBuffer(Math.max(64, length)), 0, length);
  if (typeof content !== 'number') bytes.set(content);
  return bytes;
}

const utf8 = new TextEncoder();

/** A text as C has it, with its null byte, at an address that stays. */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  return stable(utf8.encode(`${text}\0`));
}

/** The text that begins at `bytes` and ends at its first null byte. */
export function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end === -1 ? bytes : bytes.subarray(0, end));
}

/** BPF_OBJ_NAME_LEN without its null byte. */
const NAME_BYTES_MAX = 15;

/** What the kernel takes as a name from any name of a source: letters, digits, `_` and `.`, 15 of them. */
export function kernelName(name: string): Uint8Array {
  return utf8.encode(name.replaceAll(/[^\w.]/g, '_').slice(0, NAME_BYTES_MAX));
}

/** include/uapi/linux/capability.h. */
const CAPABILITIES = { CAP_NET_ADMIN: 12n, CAP_PERFMON: 38n, CAP_BPF: 39n } as const;

/** What a refusal for want of permission means: a privilege that this process lacks, or a rule of the kernel's. */
export function permissionRemedy(): string {
  const effective = BigInt(`0x${statusField('CapEff') ?? '0'}`);
  const hasAll = Object.values(CAPABILITIES).every((bit) => (effective & (1n << bit)) !== 0n);
  if (!hasAll) return PRIVILEGES;
  return 'this process has CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON: the kernel itself forbids it (a security module, or lockdown)';
}

/** The error of a call, with what to do where that is known. */
export function bpfError(result: number, object: string, remedy?: string): KernelError {
  const isDenied = result === -ERRNO.EPERM || result === -ERRNO.EACCES;
  const advice = remedy ?? (isDenied ? permissionRemedy() : undefined);
  return new KernelError('bpf', result, { object, remedy: advice });
}
