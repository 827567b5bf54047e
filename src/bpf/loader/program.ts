/**
 * Room `bpf`: programs in the kernel: loading, and running them over given bytes.
 *
 * A newcomer would get wrong: the verifier's log costs time, so a program is first loaded without one. Only a refusal is asked
 * about again, and that log can be larger than any buffer: what is kept is its end, where the reason stands.
 */
import * as abi from '../../kernel/bpf-abi.ts';
import { ERRNO } from '../../kernel/errno.ts';
import { KernelError } from '../../kernel/error.ts';
import { own } from '../../kernel/native.ts';
import { closeDescriptor } from '../../kernel/socket.ts';
import { encode, INSTRUCTION_BYTES, type Instruction } from '../instructions.ts';
import { answer, bpf, bpfError, stable } from './bpf.ts';

const types = {
  socket_filter: abi.BPF_PROG_TYPE_SOCKET_FILTER,
  sched_cls: abi.BPF_PROG_TYPE_SCHED_CLS,
  tracepoint: abi.BPF_PROG_TYPE_TRACEPOINT,
  xdp: abi.BPF_PROG_TYPE_XDP,
  cgroup_skb: abi.BPF_PROG_TYPE_CGROUP_SKB,
} as const;

export type ProgramType = keyof typeof types;

/** How much of the verifier's work is logged: nothing, on refusal only (the default), each branch, each state. */
export type LogLevel = 0 | 1 | 2;

/** What a program shall be. */
export interface ProgramSpec {
  readonly type: ProgramType;
  readonly instructions: readonly Instruction[];
  /** GPL-only helpers need a licence that is compatible; `Dual MIT/GPL` unless told. */
  readonly license?: string;
  /** Up to 15 letters, digits, `_` and `.`, shown by bpftool. */
  readonly name?: string;
  /** 1 or 2: the log is kept for a program that was accepted, too. */
  readonly logLevel?: LogLevel;
}

const NAME_BYTES_MAX = 15;
const LOG_BYTES_FIRST = 1 << 16;
/** Beyond it a log is cut: its beginning is lost, as newer kernels do by themselves (6.4: a rotating log). */
const LOG_BYTES_MAX = 1 << 24;
/** Output of a test run: the kernel's own bound for XDP frames of one page, and ample for packets of others. */
const OUTPUT_BYTES_MAX = 1 << 16;

const utf8 = new TextEncoder();

/** A program that the verifier refused. `log` is its log, whose last lines say why. */
export class VerifierError extends KernelError {
  readonly log: string;

  constructor(result: number, object: string, log: string) {
    super('bpf', result, { object, remedy: `the verifier says: ${reasonOf(log)}` });
    this.log = log;
  }
}

/** The line of a log that says why: the last one that is not statistics. */
export function reasonOf(log: string): string {
  const lines = log.split('\n').filter((line) => line.trim() !== '');
  return lines.findLast((line) => !/^(?:processed \d+ insns|verification time|stack depth)/.test(line)) ?? 'nothing';
}

function textOf(buffer: Uint8Array): string {
  const end = buffer.indexOf(0);
  return new TextDecoder().decode(end === -1 ? buffer : buffer.subarray(0, end));
}

interface Attempt {
  readonly result: number;
  readonly log: string;
}

function attempt(spec: ProgramSpec, code: Uint8Array, level: LogLevel, logBytes: number): Attempt {
  const log = stable(level === 0 ? 0 : logBytes);
  const result = bpf(abi.BPF_PROG_LOAD, {
    prog_type: types[spec.type],
    insn_cnt: code.length / INSTRUCTION_BYTES,
    insns: code,
    license: stable(utf8.encode(`${spec.license ?? 'Dual MIT/GPL'}\0`)),
    prog_name: utf8.encode(spec.name ?? ''),
    ...(level === 0 ? {} : { log_level: level, log_size: logBytes, log_buf: log }),
  });
  return { result, log: textOf(log) };
}

function attemptWithLog(spec: ProgramSpec, code: Uint8Array, level: LogLevel): Attempt {
  for (let bytes = LOG_BYTES_FIRST; ; bytes *= 16) {
    const tried = attempt(spec, code, level, bytes);
    if (tried.result !== -ERRNO.ENOSPC || bytes >= LOG_BYTES_MAX) return tried;
  }
}

/** What a test run gave. */
export interface TestRunResult {
  /** The program's answer, 32 bits. */
  readonly result: number;
  /** The packet afterwards. */
  readonly data: Uint8Array;
  /** Mean time of one run, in ns. */
  readonly durationNs: number;
}

/** A program in the kernel. It lives as long as this handle, or an attachment or a pin of it. */
export class Program implements Disposable {
  /** Its descriptor; -1 once closed. */
  descriptor: number;
  readonly type: ProgramType;
  /** The verifier's log, where one was asked for. */
  readonly log: string;

  constructor(descriptor: number, type: ProgramType, log: string) {
    this.descriptor = descriptor;
    this.type = type;
    this.log = log;
    own(descriptor);
  }

  /**
   * Runs the program over `data` in the kernel, nowhere attached (BPF_PROG_TEST_RUN), `repeat` times.
   * Network programs want an Ethernet header's 14 bytes at least.
   * @throws KernelError: EINVAL for data that this type of program does not take
   */
  testRun({ data, repeat = 1 }: { readonly data: Uint8Array; readonly repeat?: number }): TestRunResult {
    const input = stable(data);
    const output = stable(OUTPUT_BYTES_MAX);
    const result = bpf(abi.BPF_PROG_TEST_RUN, {
      'test.prog_fd': this.descriptor,
      'test.data_in': input,
      'test.data_size_in': data.length,
      'test.data_out': output,
      'test.data_size_out': output.length,
      'test.repeat': repeat,
    });
    if (result < 0) throw bpfError(result, `test run of a program of type ${this.type} over ${data.length} bytes`);
    return {
      result: answer('test.retval'),
      data: output.slice(0, answer('test.data_size_out')),
      durationNs: answer('test.duration'),
    };
  }

  [Symbol.dispose](): void {
    if (this.descriptor === -1) return;
    closeDescriptor(this.descriptor);
    this.descriptor = -1;
  }
}

/**
 * Loads a program.
 *
 *     using program = loadProgram({ type: 'xdp', instructions: assemble('mov %r0, 2\nexit') });
 *
 * @throws VerifierError where the verifier refuses it; KernelError otherwise (EPERM: CAP_BPF is missing)
 */
export function loadProgram(spec: ProgramSpec): Program {
  const name = spec.name ?? '';
  if (!/^[\w.]*$/.test(name) || name.length > NAME_BYTES_MAX) {
    throw new RangeError(`name is ${JSON.stringify(name)}: up to 15 letters, digits, _ and . are allowed`);
  }
  const object = `program${name === '' ? '' : ` ${name}`} of type ${spec.type}`;
  const code = stable(encode(spec.instructions));
  const level = spec.logLevel ?? 0;
  let { result, log } = level === 0 ? attempt(spec, code, 0, 0) : attemptWithLog(spec, code, level);
  // A refusal without a log is not the verifier's: privileges, sizes, an unknown program type.
  if (result < 0 && result !== -ERRNO.EPERM && level === 0) ({ result, log } = attemptWithLog(spec, code, 1));
  if (result >= 0) return new Program(result, spec.type, log);
  throw log.trim() === '' ? bpfError(result, object) : new VerifierError(result, object, log);
}
