/**
 * Room `bpf`: an object's types in the kernel (BPF_BTF_LOAD), so that the verifier's log and bpftool show functions, lines and types.
 *
 * A newcomer would get wrong: the kernel says nothing about BTF that it does not like unless it is given a buffer for its words.
 */
import { BPF_BTF_LOAD } from '../../kernel/bpf-attributes.ts';
import { own } from '../../kernel/native.ts';
import type { Btf } from '../object/btf/table.ts';
import { bpf, bpfError, stable, textOf } from './bpf.ts';

const LOG_BYTES = 1 << 20;

/** Types that the kernel has loaded: a descriptor to close. @throws KernelError with the kernel's own words */
export function loadBtf(btf: Btf): number {
  const bytes = stable(btf.encode());
  const result = bpf(BPF_BTF_LOAD, { btf: bytes, btf_size: bytes.length });
  if (result >= 0) {
    own(result);
    return result;
  }
  const log = stable(LOG_BYTES);
  const again = { btf_log_buf: log, btf_log_size: LOG_BYTES, btf_log_level: 1 };
  bpf(BPF_BTF_LOAD, { btf: bytes, btf_size: bytes.length, ...again });
  const said = textOf(log).trim().split('\n').at(-1) ?? '';
  throw bpfError(result, 'types of the object', said === '' ? undefined : `the kernel says: ${said}`);
}
