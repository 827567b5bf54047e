/**
 * Room `bpf`: the VM's helpers that make text of numbers and numbers of text.
 */
import { ERRNO } from '../../kernel/errno.ts';
import type { HelperCall } from './helper-call.ts';
import type { HelperTable } from './helper-table.ts';
import { arraySource, formatText, registerSource } from './trace-format.ts';
import type { World } from './world.ts';

/** The format that argument `n` points to, `size` bytes with a NUL among them; null where there is none. */
function formatOf(call: HelperCall, n: number, size: number): string | null {
  const text = Buffer.from(call.bytes(n, size));
  const end = text.indexOf(0);
  return end === -1 ? null : text.toString('latin1', 0, end);
}

function snprintf(call: HelperCall): void {
  const size = call.unsigned(2);
  const values = call.bytes(4, call.unsigned(5));
  const text = formatText(call.textAt(call.address(3), 'latin1'), arraySource(call, values));
  if (text === null || values.length % 8 !== 0) {
    call.returns(-ERRNO.EINVAL);
    return;
  }
  const bytes = Buffer.from(text, 'latin1');
  if (size > 0) {
    const target = call.bytes(1, size, true);
    target.fill(0);
    target.set(bytes.subarray(0, size - 1));
  }
  call.returns(bytes.length + 1);
}

/** bpf_strtol and bpf_strtoul: how many characters the number took, or -errno; the number goes where argument 4 points. */
function toNumber(call: HelperCall, isSigned: boolean): void {
  const text = Buffer.from(call.bytes(1, call.unsigned(2))).toString('latin1');
  const base = call.unsigned(3) & 0x1f;
  const target = call.bytes(4, 8, true);
  const found = /^\s*(-?)(0x[0-9a-f]+|[0-9a-f]+)/i.exec(text);
  const digits = found?.[2].toLowerCase() ?? '';
  const isHexadecimal = digits.startsWith('0x') && (base === 0 || base === 16);
  const isOctal = base === 8 || (base === 0 && digits.startsWith('0'));
  const plain = isHexadecimal ? digits.slice(2) : digits;
  const valid = isHexadecimal || base === 16 ? /^[0-9a-f]+/ : isOctal ? /^[0-7]+/ : /^[0-9]+/;
  const number = valid.exec(plain)?.[0];
  if (found === null || number === undefined || (found[1] === '-' && !isSigned)) {
    call.returns(-ERRNO.EINVAL);
    return;
  }
  const prefix = isHexadecimal || base === 16 ? '0x' : isOctal ? '0o' : '';
  const value = BigInt(prefix + number) * (found[1] === '-' ? -1n : 1n);
  const fits = isSigned ? BigInt.asIntN(64, value) === value : BigInt.asUintN(64, value) === value;
  if (!fits) {
    call.returns(-ERRNO.ERANGE);
    return;
  }
  new DataView(target.buffer, target.byteOffset).setBigUint64(0, BigInt.asUintN(64, value), true);
  call.returns(found[0].length - (plain.length - number.length));
}

export function textHelpers({ trace = () => undefined }: World): HelperTable {
  const finish = (call: HelperCall, line: string | null): void => {
    if (line !== null) trace(Buffer.from(line, 'latin1').toString('utf8'));
    call.returns(line === null ? -ERRNO.EINVAL : line.length);
  };
  return {
    trace_printk: [
      2,
      (call) => {
        const format = formatOf(call, 1, call.unsigned(2));
        finish(call, format === null ? null : formatText(format, registerSource(call, 3)));
      },
    ],
    trace_vprintk: [
      4,
      (call) => {
        const format = formatOf(call, 1, call.unsigned(2));
        const values = call.bytes(3, call.unsigned(4));
        finish(call, format === null ? null : formatText(format, arraySource(call, values)));
      },
    ],
    snprintf: [5, snprintf],
    strtol: [4, (call) => toNumber(call, true)],
    strtoul: [4, (call) => toNumber(call, false)],
  };
}
