/**
 * Room `bpf`: bpf(2) itself: one argument block that each command fills, and errors that name what is missing.
 *
 * A newcomer would get wrong: bytes behind what a kernel knows of the block must be zero, or the answer is E2BIG. So the block is
 * cleared for each command, and only BPF_ATTR_BYTES of it are given, which every kernel since 5.2 knows.
 */
import { BPF_ATTR } from '../../kernel/bpf-abi.ts';
import { ERRNO } from '../../kernel/errno.ts';
import { KernelError } from '../../kernel/error.ts';
import { addressOf, call, SYS } from '../../kernel/syscall.ts';

/** Up to the last field used (expected_attach_type) and to a multiple of 8. */
const BPF_ATTR_BYTES = 72;

const block = new DataView(new ArrayBuffer(128));
const base = addressOf(block);

const PRIVILEGES =
  'CAP_BPF is needed, with CAP_NET_ADMIN for network programs and CAP_PERFMON for tracing (or run as root)';

/** A field's value: a 32-bit number, or memory whose address the kernel gets. */
export type AttributeValue = number | Uint8Array;

type Attribute = keyof typeof BPF_ATTR;

/**
 * Makes one call. Memory must be an ArrayBuffer's of 64 bytes or more (`stable`), which does not move.
 * @returns the result, or -errno
 */
export function bpf(command: number, fields: Partial<Record<Attribute, AttributeValue>>): number {
  for (let at = 0; at < BPF_ATTR_BYTES; at += 4) block.setInt32(at, 0, true);
  for (const [name, value] of Object.entries(fields)) {
    const at = BPF_ATTR[name as Attribute];
    if (name === 'prog_name') {
      new Uint8Array(block.buffer).set(value as Uint8Array, at);
    } else if (typeof value === 'number') {
      block.setUint32(at, value, true);
    } else {
      block.setBigUint64(at, BigInt(addressOf(value)), true);
    }
  }
  return call(SYS.bpf, command, base, BPF_ATTR_BYTES);
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

/** The error of a call, with what to do where that is known. */
export function bpfError(result: number, object: string, remedy?: string): KernelError {
  const advice = remedy ?? (result === -ERRNO.EPERM || result === -ERRNO.EACCES ? PRIVILEGES : undefined);
  return new KernelError('bpf', result, { object, remedy: advice });
}
