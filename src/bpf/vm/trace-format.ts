/**
 * Room `bpf`: bpf_trace_printk's format (bpf-helpers(7)): %d %i %u %x with l or ll, %p, %s, %c, %%, a width and zeros before.
 *
 * A newcomer would get wrong: at most three arguments, which stay in r3 to r5; without l they are 32 bits wide.
 */
import type { HelperCall } from './helper-call.ts';

const ARGUMENT_FIRST = 3;
const ARGUMENT_LAST = 5;

function convert(call: HelperCall, n: number, length: string, conversion: string): string {
  const bits = length === '' && conversion !== 'p' ? 32 : 64;
  const value = call.wide(n);
  switch (conversion) {
    case 'd':
    case 'i':
      return BigInt.asIntN(bits, value).toString();
    case 'u':
      return BigInt.asUintN(bits, value).toString();
    case 'c':
      return String.fromCharCode(call.unsigned(n) & 0xff);
    case 's':
      return call.text(n);
    case 'p':
      return BigInt.asUintN(64, value).toString(16).padStart(16, '0');
    case 'X':
      return BigInt.asUintN(bits, value).toString(16).toUpperCase();
    default:
      return BigInt.asUintN(bits, value).toString(16);
  }
}

/** The line, or null where the kernel answers EINVAL: an unknown conversion, or too many. */
export function formatTrace(call: HelperCall): string | null {
  const format = Buffer.from(call.bytes(1, call.unsigned(2))).toString('utf8');
  const end = format.indexOf('\0');
  if (end === -1) return null;
  let n = ARGUMENT_FIRST;
  let isValid = true;
  const pattern = /%(?:%|(0?)(\d*)(l{0,2})([diuxXpsc])|(.?))/gs;
  const line = format.slice(0, end).replace(pattern, (whole, zero, width, length, conversion, wrong) => {
    if (whole === '%%') return '%';
    if (wrong !== undefined || n > ARGUMENT_LAST) {
      isValid = false;
      return '';
    }
    return convert(call, n++, length, conversion).padStart(Number(width), zero === '0' ? '0' : ' ');
  });
  return isValid ? line : null;
}
