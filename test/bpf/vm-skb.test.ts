/**
 * The VM's helpers for packets against the kernel's: each is called in both, over packets of several kinds, with
 * arguments that are right and wrong, and gives the same answer and leaves the same bytes.
 *
 * A newcomer would get wrong: what depends on a secret or on the machine (hashes, cookies) is left out.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { assemble } from '../../src/bpf/assembly.ts';
import { instantiate, loadProgram, reasonOf, VerifierError } from '../../src/bpf/index.ts';
import { HELPERS, type HelperName } from '../../src/kernel/bpf-helpers.ts';
import { kernelSkip } from '../support/bpf.ts';
import { functionOf, kind, objectOf } from '../support/bpf-object.ts';
import { ETHERTYPE, ethernet, ipv4, ipv6, PROTOCOL, tcp, udp } from '../support/packets.ts';

const payload = Uint8Array.from({ length: 40 }, (_, index) => index);
const packets = {
  tcp: ethernet({ type: ETHERTYPE.ipv4 }, ipv4({ protocol: PROTOCOL.tcp }, tcp({}, payload))),
  udp: ethernet({ type: ETHERTYPE.ipv4 }, ipv4({ protocol: PROTOCOL.udp, service: 1 }, udp({}, payload))),
  ipv6: ethernet({ type: ETHERTYPE.ipv6 }, ipv6({ protocol: PROTOCOL.udp, trafficClass: 2 }, udp({}, payload))),
  tagged: ethernet({ type: ETHERTYPE.ipv4, tags: [{ id: 5 }] }, ipv4({ protocol: PROTOCOL.udp }, udp({}, payload))),
};

/** The text of a call with the context in r1. An argument `memory` is 16 bytes on the stack. */
function call(name: HelperName, ...values: readonly (number | 'memory')[]): string {
  const moves = values.map((value, index) => {
    const register = `%r${index + 2}`;
    return value === 'memory' ? `mov ${register}, %r10\nadd ${register}, -16` : `mov ${register}, ${value}`;
  });
  return `${['mov %r1, %r6', ...moves, `call ${HELPERS[name]}`].join('\n')}\n`;
}

const field = (offset: number): string => `ldxw %r0, [%r6+${offset}]\n`;
const loaded = 'ldxdw %r0, [%r10-16]\n';

/** Flags of checksum helpers: the size of what changed, and in the higher bits how. */
const PSEUDO_HEADER = 0x10;
const MARK_MANGLED_0 = 0x20;

const cases: Readonly<Record<string, readonly string[]>> = {
  'bytes are read by offset': [
    call('skb_load_bytes', 14, 'memory', 8) + loaded,
    call('skb_load_bytes', 90, 'memory', 16),
    call('skb_load_bytes', 90, 'memory', 16) + loaded,
    call('skb_load_bytes_relative', 0, 'memory', 8, 1) + loaded,
    call('skb_load_bytes_relative', 0, 'memory', 8, 0) + loaded,
  ],
  'bytes are written by offset': [
    call('skb_store_bytes', 20, 'memory', 16, 0),
    call('skb_store_bytes', 85, 'memory', 16, 0),
    call('skb_store_bytes', 20, 'memory', 16, 1),
    call('skb_store_bytes', 20, 'memory', 16, 8),
  ],
  'the network header’s checksum follows a change': [
    call('l3_csum_replace', 24, 0x1234, 0x9876, 2),
    call('l3_csum_replace', 24, 0x12345678, -0x6789abce, 4),
    call('l3_csum_replace', 24, 0, 0x8123, 0),
    call('l3_csum_replace', 24, 1, 0x8123, 0),
    call('l3_csum_replace', 25, 1, 0x8123, 2),
    call('l3_csum_replace', 1000, 1, 0x8123, 2),
    call('l3_csum_replace', 24, 1, 0x8123, 3),
    call('l3_csum_replace', 24, 1, 0x8123, PSEUDO_HEADER | 2),
  ],
  'the transport header’s checksum follows a change': [
    call('l4_csum_replace', 50, 0x12345678, -0x6789abce, 4),
    call('l4_csum_replace', 50, 0x1234, 0x9876, PSEUDO_HEADER | 2),
    call('l4_csum_replace', 50, 0, 0x1ffff, PSEUDO_HEADER),
    call('l4_csum_replace', 40, 0x1234, 0x9876, MARK_MANGLED_0 | 2),
  ],
  'the packet’s ends move': [
    call('skb_pull_data', 40),
    call('skb_pull_data', 4000),
    ...[150, 40, 34, 33, 20, 5].map((length) => call('skb_change_tail', length, 0)),
    call('skb_change_tail', 40, 1),
    call('skb_change_tail', 150, 0) + field(0),
    ...[14, 300, 100_000].map((length) => call('skb_change_head', length, 0)),
    call('skb_change_head', 14, 1),
  ],
  'room for headers is made and taken away': [
    ...[0, 1, 2].map((mode) => call('skb_adjust_room', 20, mode, 0)),
    ...[-8, -20, -30, -60].flatMap((size) => [0, 1].map((mode) => call('skb_adjust_room', size, mode, 0))),
    call('skb_adjust_room', 20, 1, 2),
    call('skb_adjust_room', 5000, 1, 0),
  ],
  'a packet’s version changes': [
    call('skb_change_proto', 0xdd86, 0),
    call('skb_change_proto', 0x0008, 0),
    call('skb_change_proto', 0x1234, 0),
    call('skb_change_proto', 0xdd86, 0) + field(16),
  ],
  'tags come and go': [
    call('skb_vlan_push', 0x0081, 7),
    call('skb_vlan_push', 0x0081, 7) + field(24),
    call('skb_vlan_push', 0x0081, 7) + field(20),
    call('skb_vlan_push', 0x0081, 7) + call('skb_vlan_pop'),
    call('skb_vlan_push', -0x5778, 7) + call('skb_vlan_push', 0x0081, 9),
    call('skb_vlan_push', 0x1234, 7),
    call('skb_vlan_pop'),
    call('skb_vlan_pop') + field(16),
  ],
  'marks are set': [
    call('skb_change_type', 0),
    call('skb_change_type', 9),
    call('set_hash', 77) + field(68),
    call('set_hash', 77) + call('set_hash_invalid') + field(68),
    call('csum_update', 5),
    ...[0, 1, 4].map((level) => call('csum_level', level)),
  ],
  'redirections give the verdict that they ask for': [
    ...[0, 1, 2].map((flags) => `mov %r1, 3\nmov %r2, ${flags}\ncall ${HELPERS.redirect}\n`),
    `mov %r1, 3\nmov %r2, 2\ncall ${HELPERS.redirect_peer}\n`,
    ...[0, 1].map((flags) => `mov %r1, 3\nmov %r2, 0\nmov %r3, 0\nmov %r4, ${flags}\ncall ${HELPERS.redirect_neigh}\n`),
  ],
  'fields are what a test run fills them with': [0, 4, 8, 12, 16, 20, 24, 32, 36, 40, 44, 48, 68].map(field),
};

const prologue = 'mov %r6, %r1\nstdw [%r10-16], 0x11223344\nstdw [%r10-8], 0x55667788\n';

interface Outcome {
  readonly action: number;
  readonly packet: string;
}

function inKernel(type: string, text: string, data: Uint8Array): Outcome {
  using program = loadProgram({ type: type as 'sched_cls', instructions: assemble(text) });
  const run = program.testRun({ data });
  return { action: run.result | 0, packet: Buffer.from(run.data).toString('hex') };
}

function inVm(type: string, text: string, data: Uint8Array): Outcome {
  const object = instantiate(objectOf({ functions: [functionOf('probe', text, { kind: kind(type) })] }));
  const { action, packet, metadata } = object.programs.probe.run({ packet: data });
  // The kernel gives an XDP packet back from its metadata on.
  const before = type === 'xdp' ? (metadata ?? []) : [];
  return { action, packet: Buffer.from([...before, ...(packet ?? [])]).toString('hex') };
}

for (const [what, texts] of Object.entries(cases)) {
  test(`${what} as in the kernel`, { skip: kernelSkip }, () => {
    for (const text of texts) {
      const whole = `${prologue}${text}exit`;
      for (const [name, data] of Object.entries(packets)) {
        assert.deepEqual(inVm('sched_cls', whole, data), inKernel('sched_cls', whole, data), `${name}:\n${text}`);
      }
    }
  });
}

test('a program above the link layer sees a packet from its network header on, as in the kernel', {
  skip: kernelSkip,
}, () => {
  const texts = [field(0), field(16), call('skb_load_bytes', 0, 'memory', 8) + loaded];
  for (const text of texts) {
    for (const [type, end] of [
      ['socket_filter', 'exit'],
      ['cgroup_skb', 'and %r0, 1\nexit'],
    ]) {
      const whole = `${prologue}${text}${end}`;
      assert.deepEqual(inVm(type, whole, packets.tcp), inKernel(type, whole, packets.tcp), `${type}:\n${text}`);
    }
  }
});

/** XDP programs by the same pattern; metadata is made by the program. */
const xdpCases = [
  call('xdp_load_bytes', 14, 'memory', 8) + loaded,
  call('xdp_load_bytes', 90, 'memory', 16),
  call('xdp_store_bytes', 20, 'memory', 16),
  call('xdp_store_bytes', 85, 'memory', 16),
  call('xdp_get_buff_len'),
  ...[-8, -4, -3, 4, -300].map((distance) => call('xdp_adjust_meta', distance)),
  call('xdp_adjust_meta', -8) + call('xdp_adjust_head', -16),
  call('xdp_adjust_meta', -8) + call('xdp_adjust_head', 16),
  call('xdp_adjust_tail', 3500),
  call('xdp_adjust_tail', -30),
  `mov %r1, 3\nmov %r2, 0\ncall ${HELPERS.redirect}\n`,
  `mov %r1, 3\nmov %r2, 1\ncall ${HELPERS.redirect}\n`,
];

test('helpers of XDP programs answer as in the kernel', { skip: kernelSkip }, () => {
  for (const text of xdpCases) {
    const whole = `${prologue}${text}exit`;
    for (const [name, data] of Object.entries(packets)) {
      try {
        assert.deepEqual(inVm('xdp', whole, data), inKernel('xdp', whole, data), `${name}:\n${text}`);
      } catch (error) {
        if (error instanceof VerifierError) assert.fail(`${reasonOf(error.log)}:\n${whole}`);
        throw error;
      }
    }
  }
});
