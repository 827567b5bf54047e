/**
 * Room `bpf`: BPF_PROG_TEST_RUN: a program runs over what it is given, nowhere attached.
 *
 * A newcomer would get wrong: which parts a type takes differs. XDP and tc take a packet and may take a context; tracing, raw
 * tracepoints and syscall programs take only a context (raw tracepoints: the arguments, 8 bytes each); many types have no test run.
 */
import { BPF_PROG_TEST_RUN } from '../../kernel/bpf-abi.ts';
import { BPF_F_TEST_XDP_LIVE_FRAMES } from '../../kernel/bpf-attributes.ts';
import { answer, bpf, bpfError, stable } from './bpf.ts';

/** What a test run is given. */
export interface TestRunOptions {
  /** The packet. */
  readonly data?: Uint8Array;
  /** The context's bytes: struct xdp_md, struct __sk_buff, struct bpf_sk_lookup, or arguments. */
  readonly context?: Uint8Array;
  /** How often, for `durationNs`; 1 unless told. Packet and context are not restored in between. */
  readonly repeat?: number;
  /** BPF_F_TEST_RUN_ON_CPU (raw tracepoints), BPF_F_TEST_XDP_LIVE_FRAMES (the verdicts act). */
  readonly flags?: number;
  readonly cpu?: number;
  /** With BPF_F_TEST_XDP_LIVE_FRAMES: frames at a time. */
  readonly batchSize?: number;
}

/** What a test run gave. */
export interface TestRunResult {
  /** The program's answer, 32 bits. */
  readonly result: number;
  /** The packet afterwards. */
  readonly data: Uint8Array;
  /** The context afterwards; empty where none was given. */
  readonly context: Uint8Array;
  /** Mean time of one run, in ns. */
  readonly durationNs: number;
}

/** Output beside the input's own size: room for what a program prepends or appends. */
const OUTPUT_BYTES_MORE = 1 << 16;
/** Types that know no packet: the kernel refuses data for them. */
const withoutPacket: ReadonlySet<string> = new Set(['raw_tracepoint', 'tracing', 'syscall', 'raw_tracepoint_writable']);
/** ENOTSUPP of include/linux/errno.h, which user space has no name for. */
const ENOTSUPP = 524;

/** Runs a program of a type by its descriptor. */
export function testRun(descriptor: number, type: string, options: TestRunOptions): TestRunResult {
  const { data, context, repeat, flags = 0, cpu = 0, batchSize = 0 } = options;
  const input = stable(data ?? 0);
  const isLive = (flags & BPF_F_TEST_XDP_LIVE_FRAMES) !== 0;
  const hasOutput = data !== undefined && !withoutPacket.has(type) && !isLive;
  const output = stable(hasOutput ? data.length + OUTPUT_BYTES_MORE : 0);
  const before = stable(context ?? 0);
  // Syscall programs change their context where it lies; the other types without packets give none back.
  const after = stable(context !== undefined && !withoutPacket.has(type) && !isLive ? context.length : 0);
  const result = bpf(BPF_PROG_TEST_RUN, {
    'test.prog_fd': descriptor,
    ...(data === undefined ? {} : { 'test.data_in': input, 'test.data_size_in': data.length }),
    ...(hasOutput ? { 'test.data_out': output, 'test.data_size_out': output.length } : {}),
    ...(context === undefined ? {} : { 'test.ctx_in': before, 'test.ctx_size_in': context.length }),
    ...(after.length === 0 ? {} : { 'test.ctx_out': after, 'test.ctx_size_out': after.length }),
    'test.repeat': repeat ?? (withoutPacket.has(type) ? 0 : 1),
    'test.flags': flags,
    'test.cpu': cpu,
    'test.batch_size': batchSize,
  });
  if (result < 0) {
    const over = data === undefined ? `a context of ${context?.length ?? 0} bytes` : `${data.length} bytes`;
    const remedy = result === -ENOTSUPP ? 'programs of this type have no test run: attach it' : undefined;
    throw bpfError(result, `test run of a program of type ${type} over ${over}`, remedy);
  }
  return {
    result: answer('test.retval'),
    data: output.slice(0, hasOutput ? answer('test.data_size_out') : 0),
    context: (after.length === 0 ? before : after).slice(),
    durationNs: answer('test.duration'),
  };
}
