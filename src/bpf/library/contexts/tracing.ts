/**
 * Room `bpf`: the contexts of tracing programs that the UAPI describes: registers, perf events, raw tracepoints' arguments; and
 * that of netfilter programs.
 *
 * A newcomer would get wrong: `pt_regs` is that of x86-64, under the kernel's names (di, si, dx are a function's first arguments).
 * Programs that shall run on other processors use fentry or BTF tracepoints, which have typed arguments.
 */
import type { Kernel, Value } from '../layout.ts';
import { u64 } from '../numbers.ts';
import { arrayOf as array } from '../structs.ts';
import { context, kernelPointer } from './context.ts';

/** The registers of x86-64. */
export type pt_regs = Value<typeof pt_regs>;
export const pt_regs = context('pt_regs', {
  r15: u64,
  r14: u64,
  r13: u64,
  r12: u64,
  bp: u64,
  bx: u64,
  r11: u64,
  r10: u64,
  r9: u64,
  r8: u64,
  /** What a function gave, in kretprobe and uretprobe programs. */
  ax: u64,
  cx: u64,
  /** The third argument. */
  dx: u64,
  /** The second argument. */
  si: u64,
  /** The first argument. */
  di: u64,
  orig_ax: u64,
  ip: u64,
  cs: u64,
  flags: u64,
  sp: u64,
  ss: u64,
});

/** A sample of a perf event. */
export type bpf_perf_event_data = Value<typeof bpf_perf_event_data>;
export const bpf_perf_event_data = context('bpf_perf_event_data', {
  regs: pt_regs,
  sample_period: u64,
  addr: u64,
});

/** The arguments of a raw tracepoint, as they were passed: numbers and addresses. */
export type bpf_raw_tracepoint_args = Value<typeof bpf_raw_tracepoint_args>;
export const bpf_raw_tracepoint_args = context('bpf_raw_tracepoint_args', { args: array(u64, 12) });

/** A packet at a netfilter hook. Its bytes are reached through a dynptr. */
export type bpf_nf_ctx = Value<typeof bpf_nf_ctx>;
export const bpf_nf_ctx = context('bpf_nf_ctx', {
  state: kernelPointer<Kernel<'nf_hook_state'>>('nf_hook_state'),
  skb: kernelPointer<Kernel<'sk_buff'>>('sk_buff'),
});
