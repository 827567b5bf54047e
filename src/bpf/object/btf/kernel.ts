/**
 * Room `bpf`: the running kernel's own types. Read once, on first use; what a program needs of them is decoded when it is asked for.
 *
 * A newcomer would get wrong: /sys/kernel/btf/vmlinux is readable by everybody, so types, checks and CO-RE need no privilege.
 */
import { readFileSync } from 'node:fs';
import { Btf } from './table.ts';

/** Where Linux shows the types that it was built with (CONFIG_DEBUG_INFO_BTF). */
export const KERNEL_BTF_PATH = '/sys/kernel/btf/vmlinux';

let cached: Btf | null = null;

/** The running kernel's types. @throws Error where the kernel has none */
export function kernelBtf(): Btf {
  cached ??= Btf.decode(readKernelBtf(KERNEL_BTF_PATH));
  return cached;
}

/** The types that a module of the kernel adds to the kernel's own. @throws Error where there is no such module, or it has none */
export function moduleBtf(module: string): Btf {
  return Btf.decode(readKernelBtf(`/sys/kernel/btf/${module}`), kernelBtf());
}

function readKernelBtf(path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (cause) {
    const remedy = 'a kernel built with CONFIG_DEBUG_INFO_BTF=y shows its types there; or give a BTF file for it';
    throw new Error(`the kernel’s types cannot be read from ${path}; ${remedy}`, { cause });
  }
}
