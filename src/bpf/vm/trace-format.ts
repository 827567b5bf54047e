/**
 * Room `bpf`: the format of bpf_trace_printk and bpf_snprintf (bpf_bprintf_prepare in kernel/trace): %d %i %u %x %o
 * with l or ll (and h, hh), %p, %pK, %px, %pI4, %pI6, %s, %c, %%, a width and zeros before, - for the left.
 *
 * A newcomer would get wrong: without l a number is 32 bits wide, whatever the register holds.
 */
import type { HelperCall } from './helper-call.ts';

/** Where the values come from: each as 64 bits, null when there are no more. */
export interface FormatSource {
  readonly next: () => bigint | null;
  /** The text, or bytes, at an address. */
  readonly textAt: (address: bigint) => string;
  readonly bytesAt: (address: bigint, size: number) => Uint8Array;
}

/** A width beyond it could only waste memory: a line of the kernel's has 1024 characters at most. */
const COLUMNS_MAX = 1024;
const IPV4_BYTES = 4;
const IPV6_BYTES = 16;

function ipv6Text(bytes: Uint8Array): string {
  return (Buffer.from(bytes).toString('hex').match(/..../g) ?? []).join(':');
}

function convert(source: FormatSource, value: bigint, length: string, conversion: string): string {
  const bits = length.startsWith('l') ? 64 : 32;
  switch (conversion) {
    case 'd':
    case 'i':
      return BigInt.asIntN(bits, value).toString();
    case 'u':
      return BigInt.asUintN(bits, value).toString();
    case 'o':
      return BigInt.asUintN(bits, value).toString(8);
    case 'c':
      return String.fromCharCode(Number(value & 0xffn));
    case 's':
      return source.textAt(value);
    case 'pI4':
    case 'pi4':
      return source.bytesAt(value, IPV4_BYTES).join('.');
    case 'pI6':
    case 'pi6':
      return ipv6Text(source.bytesAt(value, IPV6_BYTES));
    case 'p':
    case 'px':
    case 'pK':
      return BigInt.asUintN(64, value).toString(16).padStart(16, '0');
    case 'X':
      return BigInt.asUintN(bits, value).toString(16).toUpperCase();
    default:
      return BigInt.asUintN(bits, value).toString(16);
  }
}

/**
 * The text with a character for each byte, or null where the kernel answers EINVAL: an unknown conversion, or more than there are
 * values.
 */
export function formatText(format: string, source: FormatSource): string | null {
  let isValid = true;
  const pattern = /%(?:%|(-?)(0?)(\d*)(l{0,2}|h{0,2})(p[Ii][46]|p[Kx]|[diuoxXpsc])|(.?))/gs;
  const text = format.replace(pattern, (whole, left, zero, width, length, conversion, wrong) => {
    if (whole === '%%') return '%';
    const value = wrong === undefined ? source.next() : null;
    if (value === null) {
      isValid = false;
      return '';
    }
    const converted = convert(source, value, length, conversion);
    const columns = Math.min(Number(width), COLUMNS_MAX);
    return left === '-' ? converted.padEnd(columns) : converted.padStart(columns, zero === '0' ? '0' : ' ');
  });
  return isValid ? text : null;
}

/** Values from registers `first` to r5, whose pointers are the program's. */
export function registerSource(call: HelperCall, first: number): FormatSource {
  let n = first;
  return { ...memorySource(call), next: () => (n > 5 ? null : call.wide(n++)) };
}

/** Values of 64 bits from memory. */
export function arraySource(call: HelperCall, bytes: Uint8Array): FormatSource {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  return {
    ...memorySource(call),
    next() {
      if (at + 8 > bytes.length) return null;
      at += 8;
      return view.getBigUint64(at - 8, true);
    },
  };
}

function memorySource(call: HelperCall): Pick<FormatSource, 'textAt' | 'bytesAt'> {
  return {
    textAt: (address) => call.textAt(wordsOf(address), 'latin1'),
    bytesAt: (address, size) => call.bytesAt(wordsOf(address), size),
  };
}

function wordsOf(address: bigint): { readonly low: number; readonly high: number } {
  return { low: Number(BigInt.asIntN(32, address)), high: Number(BigInt.asIntN(32, address >> 32n)) };
}
