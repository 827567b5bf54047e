/**
 * The library against the running kernel: where its BTF says that fields lie, what types it names, and which helpers it keeps for
 * GPL programs.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import test from 'node:test';
import { exit, instruction } from '../../../src/bpf/assembly.ts';
import { loadProgram, VerifierError } from '../../../src/bpf/index.ts';
import { catalogue } from '../../../src/bpf/library/catalogue.ts';
import type { Definition, HelperDefinition } from '../../../src/bpf/library/definitions.ts';
import { KERNEL_BTF_PATH, kernelBtf } from '../../../src/bpf/object/btf/kernel.ts';
import { typeOf } from '../../../src/bpf/object/btf/to-type.ts';
import type { StructType } from '../../../src/bpf/types.ts';
import { BPF_CALL, BPF_DW, BPF_JMP, BPF_W } from '../../../src/kernel/bpf-abi.ts';
import {
  ATTACH_TYPES,
  type AttachTypeName,
  PROGRAM_TYPES,
  type ProgramTypeName,
} from '../../../src/kernel/bpf-names.ts';
import { kernelSkip } from '../../support/bpf.ts';
import { callOf, type PacketFields } from '../../support/bpf-helper-calls.ts';

const btfSkip = existsSync(KERNEL_BTF_PATH) ? false : `no ${KERNEL_BTF_PATH}`;

function definitions<K extends Definition['kind']>(kind: K): Extract<Definition, { kind: K }>[] {
  return [...catalogue.values()].filter(
    (definition): definition is Extract<Definition, { kind: K }> => definition.kind === kind,
  );
}

/** The kernel's own names for what the library has under one: opaque words, parts of unions by their first member. */
const renamed: Readonly<Record<string, string>> = { opaque: '__opaque' };

/** What the kernel's struct of this name says otherwise than ours; empty where they agree. */
function differences(ours: StructType, kernels: StructType): string[] {
  const offsets = new Map(kernels.fields.map(({ name, offset }) => [name, offset]));
  const wrong = ours.fields.filter(({ name, offset }) => offsets.get(renamed[name] ?? name) !== offset);
  const sizes = ours.bytes <= kernels.bytes ? [] : [`${ours.name} has ${ours.bytes} bytes, ${kernels.bytes} there`];
  return [
    ...sizes,
    ...wrong.map(
      ({ name, offset }) => `${ours.name}.${name} at ${offset}, ${offsets.get(renamed[name] ?? name)} there`,
    ),
  ];
}

test('structs of the UAPI lie as the running kernel’s BTF says', { skip: btfSkip }, (context) => {
  const btf = kernelBtf();
  const absent: string[] = [];
  const compared: string[] = [];
  for (const { type } of definitions('type')) {
    if (type.kind !== 'struct' || !/^(?:bpf_|sk_|xdp_md|__sk_buff|pt_regs|btf_ptr)/.test(type.name)) continue;
    const [id] = btf.byName(type.name, 'struct');
    if (id === undefined) {
      absent.push(type.name);
      continue;
    }
    const kernels = typeOf(btf, id);
    assert.equal(kernels.kind, 'struct');
    const found = differences(type, kernels);
    // The kernel has no length for the arguments of raw tracepoints.
    assert.deepEqual(type.name === 'bpf_raw_tracepoint_args' ? [] : found, []);
    compared.push(type.name);
  }
  if (absent.length > 0) context.diagnostic(`not in this kernel's BTF: ${absent.join(', ')}`);
  assert.ok(compared.length > 20, `only ${compared.length} structs were found in BTF`);
});

test('program and attach types are those that the loader knows', () => {
  for (const { name, type, attachType } of definitions('program')) {
    assert.ok(type in PROGRAM_TYPES, `${name}: ${type}`);
    assert.ok(attachType === null || attachType in ATTACH_TYPES, `${name}: ${attachType}`);
  }
});

/** Program types that load without a target, so that helpers can be tried in them. */
const tries: readonly (readonly [ProgramTypeName, AttachTypeName | null])[] = [
  ['sched_cls', null],
  ['tracepoint', null],
  ['xdp', null],
  ['perf_event', null],
  ['raw_tracepoint', null],
  ['kprobe', null],
  ['cgroup_skb', 'cgroup_inet_ingress'],
  ['cgroup_sock', 'cgroup_inet_sock_create'],
  ['cgroup_sock_addr', 'cgroup_inet4_connect'],
  ['cgroup_sockopt', 'cgroup_setsockopt'],
  ['cgroup_sysctl', 'cgroup_sysctl'],
  ['cgroup_device', 'cgroup_device'],
  ['sock_ops', 'cgroup_sock_ops'],
  ['sk_skb', 'sk_skb_stream_verdict'],
  ['sk_msg', 'sk_msg_verdict'],
  ['sk_lookup', 'sk_lookup'],
  ['sk_reuseport', 'sk_reuseport_select'],
  ['lwt_in', null],
  ['lwt_xmit', null],
  ['lwt_seg6local', null],
  ['lirc_mode2', 'lirc_mode2'],
];

/** What the verifier says to a call of the helper from a program without a licence; null where no program of these types has it. */
function answerTo({ id }: HelperDefinition): string | null {
  const instructions = [instruction(BPF_JMP | BPF_CALL, { immediate: id }), exit()];
  for (const [type, attachType] of tries) {
    try {
      using _program = loadProgram({ type, attachType, instructions, license: 'Proprietary' });
      return 'accepted';
    } catch (error) {
      if (!(error instanceof VerifierError)) continue;
      if (!/unknown func|cannot use helper/.test(error.log)) return error.log;
    }
  }
  return null;
}

test('helpers are kept for GPL programs as in the running kernel', { skip: kernelSkip }, (context) => {
  const without: string[] = [];
  const wrong: string[] = [];
  for (const helper of definitions('helper')) {
    const answer = answerTo(helper);
    if (answer === null) without.push(helper.name);
    else if (/cannot call GPL-restricted function/.test(answer) !== helper.gplOnly) wrong.push(helper.name);
  }
  context.diagnostic(`not tried, for other program types alone: ${without.join(', ')}`);
  assert.ok(without.length < 60, `${without.length} helpers could not be tried`);
  assert.deepEqual(wrong, []);
});

/** Complaints about what a program gets from elsewhere and a test of single calls cannot have; all others are our mistakes. */
const beyond: readonly RegExp[] = [
  /type=(?:ctx|fp|scalar) expected=(?:sock_common|map_value|ringbuf_mem|percpu_ptr_)/,
  /might sleep in a non-sleepable prog/,
  /Expected an initialized dynptr|bpf_dynptr_from_mem data|is an unacquired reference|Unreleased reference/,
  /bpf_get_func_ip#173 not supported for program type/,
];

/** The verifier's answers to a call of the helper, from every type of program that has it: null where it accepts. */
function answersTo(helper: HelperDefinition): (string | null)[] {
  const { result } = helper;
  const release = result.kind === 'pointer' ? catalogue.get(result.release ?? '') : undefined;
  using made = callOf(helper, { release: release?.kind === 'helper' ? release.id : undefined });
  if (made === null) return [];
  const { instructions } = made;
  return tries.flatMap(([type, attachType]) => {
    try {
      using _program = loadProgram({ type, attachType, instructions });
      return [null];
    } catch (error) {
      if (!(error instanceof VerifierError)) return [];
      return /unknown func|cannot use helper/.test(error.log) ? [] : [error.log];
    }
  });
}

/** Storages want BTF, and rings of user space whole pages: their helpers are tried by programs in other tests. */
const withoutMap = /^bpf_(?:\w+_storage_\w+|get_local_storage|user_ringbuf_drain)$/;

test('the verifier takes each argument for what its definition says', { skip: kernelSkip }, () => {
  const wrong: string[] = [];
  let accepted = 0;
  for (const helper of definitions('helper')) {
    if (withoutMap.test(helper.name)) continue;
    const answers = answersTo(helper);
    if (answers.includes(null)) accepted++;
    else if (answers.some((log) => log !== null && !beyond.some((pattern) => pattern.test(log)))) {
      wrong.push(`${helper.name}: ${answers.join('')}`);
    }
  }
  assert.deepEqual(wrong, []);
  assert.ok(accepted > 120, `only ${accepted} calls were accepted`);
});

/** Where the packet is, by program type. */
const packets: readonly (readonly [ProgramTypeName, AttachTypeName | null, PacketFields])[] = [
  ['xdp', null, { width: BPF_W, data: 0, dataEnd: 4 }],
  ['sched_cls', null, { width: BPF_W, data: 76, dataEnd: 80 }],
  ['lwt_in', null, { width: BPF_W, data: 76, dataEnd: 80 }],
  ['lwt_seg6local', null, { width: BPF_W, data: 76, dataEnd: 80 }],
  ['sk_skb', 'sk_skb_stream_verdict', { width: BPF_W, data: 76, dataEnd: 80 }],
  ['sk_msg', 'sk_msg_verdict', { width: BPF_DW, data: 0, dataEnd: 8 }],
];

/** Whether the verifier forgets pointers into the packet at the call; null where no program can tell. */
function forgetsPacket(helper: HelperDefinition): boolean | null {
  for (const [type, attachType, packet] of packets) {
    using made = callOf(helper, { packet });
    if (made === null) return null;
    try {
      using _program = loadProgram({ type, attachType, instructions: made.instructions });
      return false;
    } catch (error) {
      if (error instanceof VerifierError && /R7 invalid mem access/.test(error.log)) return true;
    }
  }
  return null;
}

test('helpers that move the packet are those after which the verifier forgets it', { skip: kernelSkip }, () => {
  const found = new Map<boolean, string[]>([
    [true, []],
    [false, []],
  ]);
  for (const helper of definitions('helper')) {
    // Some kernels (6.13 to 6.16) count tail calls, others do not; ours must suit all.
    if (withoutMap.test(helper.name) || helper.name === 'bpf_tail_call') continue;
    const forgets = forgetsPacket(helper);
    if (forgets === null) continue;
    found.get(forgets)?.push(helper.name);
    assert.equal(helper.changesPacket, forgets, helper.name);
  }
  assert.ok((found.get(true)?.length ?? 0) > 15, `moving: ${found.get(true)}`);
  assert.ok((found.get(false)?.length ?? 0) > 60, `not moving: ${found.get(false)?.length}`);
});
