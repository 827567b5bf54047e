/**
 * Room `bpf`: the options that the running kernel was built with, for `kconfig` values of a program and for saying why something
 * is missing.
 *
 * A newcomer would get wrong: an option that is off is not in the text as `=n` but as a comment, and where the text comes from differs:
 * /proc/config.gz needs CONFIG_IKCONFIG_PROC, /boot/config-RELEASE comes with the distribution's package.
 */
import { existsSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { atLeast, kernelVersion } from '../../kernel/procfs.ts';
import type { KconfigSpec } from '../object/spec.ts';

/** Option to what stands behind its `=`: `y`, `m`, `250`, `"bbr"`. */
export type KernelConfig = ReadonlyMap<string, string>;

export function parseKernelConfig(text: string): KernelConfig {
  const matches = text.matchAll(/^(CONFIG_\w+)=(.*)$/gm);
  return new Map([...matches].map(([, name, value]) => [name, value]));
}

let cached: KernelConfig | null | undefined;

/** The running kernel's options; null where it shows them nowhere. */
export function kernelConfig(): KernelConfig | null {
  if (cached !== undefined) return cached;
  const { release } = kernelVersion();
  const places = [`/boot/config-${release}`, `/usr/lib/modules/${release}/config`, `/lib/modules/${release}/config`];
  const place = places.find((path) => existsSync(path));
  if (existsSync('/proc/config.gz'))
    cached = parseKernelConfig(gunzipSync(readFileSync('/proc/config.gz')).toString('latin1'));
  else cached = place === undefined ? null : parseKernelConfig(readFileSync(place, 'latin1'));
  return cached;
}

/** Thrown where a program wants an option that the kernel does not tell. */
export class KconfigError extends Error {
  override readonly name = 'KconfigError';
}

/** LINUX_KERNEL_VERSION as KERNEL_VERSION() makes it (include/linux/version.h); the patch level is cut to a byte there, too. */
function versionNumber(): bigint {
  const { major, minor, patch } = kernelVersion();
  return BigInt((major << 16) | (minor << 8) | Math.min(patch, 255));
}

/** enum libbpf_tristate, which objects know it by. */
const TRISTATE: Readonly<Record<string, bigint>> = { n: 0n, y: 1n, m: 2n };

function integerOf(spec: KconfigSpec, text: string): bigint {
  if (spec.typeKind === 'boolean' || spec.typeKind === 'tristate' || text in TRISTATE) {
    const state = TRISTATE[text];
    if (state === undefined || (spec.typeKind === 'boolean' && text === 'm')) {
      throw new KconfigError(`${spec.name} is ${text}, but the program takes it for ${spec.typeKind}`);
    }
    return state;
  }
  if (!/^-?(?:0x[\da-f]+|\d+)$/i.test(text)) {
    throw new KconfigError(`${spec.name} is ${text}, but the program takes it for a number`);
  }
  const value = text.startsWith('-') ? -BigInt(text.slice(1)) : BigInt(text);
  const bits = spec.bytes * 8;
  if (BigInt.asIntN(bits, value) !== value && BigInt.asUintN(bits, value) !== value) {
    throw new KconfigError(`${spec.name} is ${text}, which does not fit ${spec.bytes} bytes`);
  }
  return value;
}

function write(bytes: Uint8Array, spec: KconfigSpec, text: string): void {
  const { offset, bytes: size } = spec;
  if (spec.typeKind === 'string') {
    const quoted = /^"(.*)"$/.exec(text);
    if (quoted === null) throw new KconfigError(`${spec.name} is ${text}, but the program takes it for a text`);
    // A text too long is cut, with its null byte kept, as libbpf does.
    bytes.set(new TextEncoder().encode(quoted[1]).subarray(0, size - 1), offset);
    return;
  }
  let value = integerOf(spec, text);
  for (let at = 0; at < size; at++, value >>= 8n) bytes[offset + at] = Number(value & 0xffn);
}

/**
 * The bytes of an object's `.kconfig` section.
 * @param overrides values that are taken in place of the kernel's own: `{ CONFIG_HZ: '1000' }`
 * @throws KconfigError for an option that is not told and not weak
 */
export function kconfigBytes(
  specs: readonly KconfigSpec[],
  overrides: Readonly<Record<string, string>> = {},
  config: KernelConfig | null = kernelConfig(),
): Uint8Array {
  const bytes = new Uint8Array(Math.max(0, ...specs.map(({ offset, bytes: size }) => offset + size)));
  for (const spec of specs) {
    const given = overrides[spec.name];
    if (given !== undefined) {
      write(bytes, spec, given);
    } else if (spec.name === 'LINUX_KERNEL_VERSION') {
      write(bytes, { ...spec, typeKind: 'integer' }, String(versionNumber()));
    } else if (spec.name === 'LINUX_HAS_BPF_COOKIE') {
      // usdt.bpf.h asks; what it would need without cookies is not filled.
      write(bytes, spec, atLeast(kernelVersion(), 5, 15) ? 'y' : 'n');
    } else if (spec.name.startsWith('CONFIG_')) {
      const text = config?.get(spec.name);
      if (text !== undefined) write(bytes, spec, text);
      else if (!spec.weak) throw new KconfigError(missing(spec.name, config));
    } else if (!spec.weak) {
      // LINUX_HAS_SYSCALL_WRAPPER, for one, is libbpf's own invention for its macros.
      throw new KconfigError(`${spec.name} is no option of the kernel: give its value`);
    }
  }
  return bytes;
}

function missing(name: string, config: KernelConfig | null): string {
  if (config === null) {
    return `${name} is needed, but this kernel shows its options neither in /proc/config.gz nor in /boot: give its value`;
  }
  return `${name} is not set in this kernel; give its value, or make it weak, so that it is 0`;
}
