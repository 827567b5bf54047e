/**
 * Room `bpf`: programs in the kernel: loading, and running them over given bytes.
 *
 * A newcomer would get wrong: the verifier's log costs time, so a program is first loaded without one. Only a refusal is asked
 * about again, and that log can be larger than any buffer: what is kept is its end, where the reason stands.
 */
import * as abi from '../../kernel/bpf-abi.ts';
import { BPF_PROG_BIND_MAP } from '../../kernel/bpf-attributes.ts';
import { ATTACH_TYPES, type AttachTypeName, PROGRAM_TYPES, type ProgramTypeName } from '../../kernel/bpf-names.ts';
import { ERRNO } from '../../kernel/errno.ts';
import { own } from '../../kernel/native.ts';
import { closeDescriptor } from '../../kernel/socket.ts';
import { encode, INSTRUCTION_BYTES, type Instruction } from '../instructions.ts';
import type { ProgramInfo as ProgramTables } from '../object/link.ts';
import { bpf, bpfError, cString, kernelName, stable, textOf } from './bpf.ts';
import type { Holder } from './codec.ts';
import { openById, type ProgramInfo, programInfo } from './info.ts';
import { openPinned, pinObject } from './pin.ts';
import { type TestRunOptions, type TestRunResult, testRun } from './test-run.ts';
import { type ProgramSource, VerifierError } from './verifier.ts';
import { isSilent } from './verifier-log.ts';

export type ProgramType = ProgramTypeName;

/** How much of the verifier's work is logged: nothing, on refusal only (the default), each branch, each state. */
export type LogLevel = 0 | 1 | 2;

/** Types of a program's functions and its line table, as BPF_PROG_LOAD takes them. */
export interface ProgramBtf extends ProgramTables {
  /** Of the BTF that was loaded. */
  readonly descriptor: number;
}

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
  /** The hook, for types whose rules depend on it; for struct_ops the index of the member. */
  readonly attachType?: AttachTypeName | number | null;
  /** BPF_F_SLEEPABLE, BPF_F_XDP_HAS_FRAGS and others. */
  readonly flags?: number;
  /** What it is attached to, as an id in the kernel's BTF, in a module's or in that of the program `attachTo`. */
  readonly attachBtfId?: number;
  readonly attachTo?: Holder;
  /** `attachTo` is a module's BTF, not a program. */
  readonly attachToModule?: boolean;
  readonly btf?: ProgramBtf;
  /** fd_array: descriptors of maps and of modules' BTF that instructions name by index. */
  readonly descriptors?: Int32Array;
  /** Where the instructions come from, for what is said about a refusal. */
  readonly source?: ProgramSource;
}

const NAME_BYTES_MAX = 15;
const LOG_BYTES_FIRST = 1 << 20;
/** Beyond it a log is cut. */
const LOG_BYTES_MAX = 1 << 24;
/** A load is tried so often again when signals interrupt it. */
const INTERRUPTIONS_MAX = 20;

interface Attempt {
  readonly result: number;
  readonly log: string;
}

function btfFields(btf: ProgramBtf): Parameters<typeof bpf>[1] {
  return {
    prog_btf_fd: btf.descriptor,
    func_info_rec_size: btf.functionBytes,
    func_info: stable(btf.functions),
    func_info_cnt: btf.functionCount,
    line_info_rec_size: btf.lineBytes,
    line_info: stable(btf.lines),
    line_info_cnt: btf.lineCount,
  };
}

function attempt(spec: ProgramSpec, code: Uint8Array, level: LogLevel, logBytes: number): Attempt {
  const log = stable(level === 0 ? 0 : logBytes);
  const { descriptors, attachType = null } = spec;
  const fields: Parameters<typeof bpf>[1] = {
    prog_type: PROGRAM_TYPES[spec.type],
    insn_cnt: code.length / INSTRUCTION_BYTES,
    insns: code,
    license: cString(spec.license ?? 'Dual MIT/GPL'),
    prog_flags: spec.flags ?? 0,
    prog_name: kernelName(spec.name ?? ''),
    expected_attach_type: typeof attachType === 'string' ? ATTACH_TYPES[attachType] : (attachType ?? 0),
    attach_btf_id: spec.attachBtfId ?? 0,
    [spec.attachToModule ? 'attach_btf_obj_fd' : 'attach_prog_fd']: spec.attachTo?.descriptor ?? 0,
    ...(descriptors === undefined ? {} : { fd_array: stable(new Uint8Array(descriptors.buffer)) }),
    ...(spec.btf === undefined ? {} : btfFields(spec.btf)),
    ...(level === 0 ? {} : { log_level: level, log_size: logBytes, log_buf: log }),
  };
  // The verifier gives up when a signal is pending (do_check, kernel/bpf/verifier.c), which says nothing about the program.
  let result = bpf(abi.BPF_PROG_LOAD, fields);
  for (let more = INTERRUPTIONS_MAX; result === -ERRNO.EAGAIN && more > 0; more--) {
    result = bpf(abi.BPF_PROG_LOAD, fields);
  }
  return { result, log: textOf(log) };
}

/** The last line of a log that has its end. */
const LOG_END = /^processed \d+ insns/m;

/**
 * Loads with a log. Where a first attempt without one was refused, `refusal` is its answer: it counts where the kernel says only that
 * the log is too long. Newer kernels keep a log's end (6.4: a rotating log), which is enough; older ones its beginning.
 */
function attemptWithLog(spec: ProgramSpec, code: Uint8Array, level: LogLevel, refusal: number): Attempt {
  for (let bytes = LOG_BYTES_FIRST; ; bytes *= 16) {
    const { result, log } = attempt(spec, code, level, bytes);
    if (result !== -ERRNO.ENOSPC) return { result, log };
    const isEnough = bytes >= LOG_BYTES_MAX || (refusal !== 0 && LOG_END.test(log.slice(-1000)));
    if (isEnough) return { result: refusal === 0 ? result : refusal, log };
  }
}

/** A program in the kernel. It lives as long as this handle, or an attachment or a pin of it. */
export class Program implements Disposable {
  /** Its descriptor; -1 once closed. */
  descriptor: number;
  readonly type: ProgramType;
  /** The hook that it was loaded for; null where its type has none. */
  readonly attachType: AttachTypeName | null;
  /** The verifier's log, where one was asked for. */
  readonly log: string;

  constructor(descriptor: number, type: ProgramType, log = '', attachType: AttachTypeName | null = null) {
    this.descriptor = descriptor;
    this.type = type;
    this.log = log;
    this.attachType = attachType;
    own(descriptor);
  }

  /**
   * Runs the program in the kernel, nowhere attached (BPF_PROG_TEST_RUN), over a packet, a context or both, as its type takes them.
   * Network programs want an Ethernet header's 14 bytes at least.
   * @throws KernelError: EINVAL for data that this type of program does not take, ENOTSUPP (524) for a type without test runs
   */
  testRun(options: TestRunOptions): TestRunResult {
    return testRun(this.descriptor, this.type, options);
  }

  /** Keeps it under a path on bpffs, beyond this process. */
  pin(path: string): void {
    pinObject(this.descriptor, path, `program of type ${this.type}`);
  }

  /** Keeps a map alive as long as the program, which need not use it (Linux 5.10). */
  bindMap(map: Holder): void {
    const fields = { 'prog_bind_map.prog_fd': this.descriptor, 'prog_bind_map.map_fd': map.descriptor } as const;
    const result = bpf(BPF_PROG_BIND_MAP, fields);
    if (result < 0) throw bpfError(result, 'binding of a map to a program');
  }

  info(): ProgramInfo {
    return programInfo(this.descriptor);
  }

  [Symbol.dispose](): void {
    if (this.descriptor === -1) return;
    closeDescriptor(this.descriptor);
    this.descriptor = -1;
  }
}

/**
 * Loads a program, only its descriptor and log.
 * @throws as {@link loadProgram}
 */
export function loadProgramDescriptor(spec: ProgramSpec): { readonly descriptor: number; readonly log: string } {
  const { name = '' } = spec;
  const object = `program${name === '' ? '' : ` ${name}`} of type ${spec.type}`;
  const code = stable(encode(spec.instructions));
  const level = spec.logLevel ?? 0;
  let { result, log } = level === 0 ? attempt(spec, code, 0, 0) : attemptWithLog(spec, code, level, 0);
  // A refusal without a reason in a log is not the verifier's: privileges, sizes, an unknown program type.
  if (result < 0 && level === 0) ({ result, log } = attemptWithLog(spec, code, 1, result));
  if (result >= 0) return { descriptor: result, log };
  throw isSilent(log) ? bpfError(result, object) : new VerifierError(result, object, log, spec.source);
}

/**
 * Loads a program.
 *
 *     using program = loadProgram({ type: 'xdp', instructions: assemble('mov %r0, 2\nexit') });
 *
 * @throws VerifierError where the verifier refuses it; KernelError otherwise (EPERM: CAP_BPF is missing)
 */
export function loadProgram(spec: ProgramSpec): Program {
  const { name = '' } = spec;
  if (!/^[\w.]*$/.test(name) || name.length > NAME_BYTES_MAX) {
    throw new RangeError(`name is ${JSON.stringify(name)}: up to 15 letters, digits, _ and . are allowed`);
  }
  const { descriptor, log } = loadProgramDescriptor(spec);
  const { attachType = null } = spec;
  return new Program(descriptor, spec.type, log, typeof attachType === 'string' ? attachType : null);
}

/** The program pinned at a path, or null where nothing is. */
export function openProgram(path: string): Program | null {
  const descriptor = openPinned(path);
  return descriptor === null ? null : adopt(descriptor);
}

/** The program with an id, or null where there is none. @throws KernelError: EPERM without CAP_SYS_ADMIN */
export function openProgramById(id: number): Program | null {
  const descriptor = openById('program', id);
  return descriptor === null ? null : adopt(descriptor);
}

function adopt(descriptor: number): Program {
  try {
    return new Program(descriptor, programInfo(descriptor).type as ProgramType);
  } catch (error) {
    closeDescriptor(descriptor);
    throw error;
  }
}
