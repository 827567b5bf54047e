/**
 * Room `bpf`: a program's context in the VM: a struct of the kernel's UAPI that is not what lies in the kernel's
 * memory. Some fields give pointers, few may be written, as the verifier rewrites accesses to them
 * (convert_ctx_accesses).
 *
 * A newcomer would get wrong: `xdp_md.data` has 32 bits and its load gives a pointer of 64.
 */
import { Violation } from './fault.ts';
import type { Address, Guard, Region } from './memory.ts';

/** A field that gives a pointer, asked for when it is loaded. */
export interface PointerField {
  readonly bytes: 4 | 8;
  /** Null: the pointer is null. */
  readonly address: () => Address | null;
}

/** The rules of one kind of context. */
export class ContextGuard implements Guard {
  /** By offset. */
  readonly pointers = new Map<number, PointerField>();
  /** Ranges that may be written: pairs of beginning and end. */
  readonly writable: (readonly [from: number, to: number])[] = [];

  load(region: Region, at: number, size: number, file: Int32Array, d: number): boolean {
    const field = this.pointers.get(at);
    if (field !== undefined && field.bytes === size) {
      const address = field.address();
      file[d] = address === null ? 0 : address.low;
      file[d + 1] = address === null ? 0 : address.high;
      return true;
    }
    for (const [offset, { bytes }] of this.pointers) {
      if (at + size <= offset || at >= offset + bytes) continue;
      const what = `reads ${size} byte${size === 1 ? '' : 's'} at offset ${at} of ${region.name}`;
      throw new Violation(`${what}, across a pointer; load ${bytes} at ${offset}`);
    }
    return false;
  }

  store(region: Region, at: number, size: number): void {
    if (this.writable.some(([from, to]) => at >= from && at + size <= to)) return;
    const what = `writes ${size} byte${size === 1 ? '' : 's'} at offset ${at} of ${region.name}`;
    throw new Violation(`${what}, where nothing may be written`);
  }
}
