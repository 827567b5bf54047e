/**
 * XDP programs in the VM and, where it may be, the same in the kernel: verdicts, packets, and moved ends.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { assemble, XdpMachine } from '../../src/bpf/assembly.ts';
import { loadProgram } from '../../src/bpf/index.ts';
import { XDP_DROP, XDP_PASS, XDP_TX } from '../../src/kernel/bpf-abi.ts';
import { kernelSkip } from '../support/bpf.ts';

const packet = Uint8Array.from({ length: 60 }, (_, index) => index);

/** Swaps the first bytes of the addresses of IPv4 packets and answers XDP_TX, drops the rest. */
const swapping = `
  mov %r0, 1
  ldxw %r2, [%r1+0]
  ldxw %r3, [%r1+4]
  mov %r4, %r2
  add %r4, 14
  jgt %r4, %r3, exit
  ldxh %r5, [%r2+12]
  jne %r5, 8, exit
  ldxb %r4, [%r2+0]
  ldxb %r5, [%r2+6]
  stxb [%r2+0], %r5
  stxb [%r2+6], %r4
  mov %r0, 3
  exit
`;

/** Moves an end by a distance, then answers XDP_PASS, or XDP_DROP when the helper refused. */
const adjusting = (helper: number, distance: number) =>
  `mov %r2, ${distance}\ncall ${helper}\njeq %r0, 0, fine\nmov %r0, 1\nexit\nfine: mov %r0, 2\nexit`;

function both(text: string, data: Uint8Array) {
  const instructions = assemble(text);
  const model = new XdpMachine(instructions).run({ packet: data });
  if (kernelSkip === false) {
    using program = loadProgram({ type: 'xdp', instructions });
    const real = program.testRun({ data });
    assert.deepEqual({ action: model.action, packet: model.packet }, { action: real.result, packet: real.data });
  }
  return model;
}

test('a program reads and changes the packet', () => {
  const ipv4 = packet.slice();
  ipv4.set([8, 0], 12);
  const swapped = both(swapping, ipv4);
  assert.equal(swapped.action, XDP_TX);
  assert.deepEqual([swapped.packet[0], swapped.packet[6]], [6, 0]);
  assert.deepEqual(both(swapping, packet), { action: XDP_DROP, packet });
});

test('the ends move as the kernel moves them, and no further', () => {
  const answers: [number, number, number, number][] = [
    [44, 14, XDP_PASS, 46],
    [44, -20, XDP_PASS, 80],
    [44, 47, XDP_DROP, 60],
    [44, -216, XDP_PASS, 276],
    [44, -217, XDP_DROP, 60],
    [65, -46, XDP_PASS, 14],
    [65, -47, XDP_DROP, 60],
    [65, 100, XDP_PASS, 160],
    [65, 5000, XDP_DROP, 60],
  ];
  for (const [helper, distance, action, length] of answers) {
    const result = both(adjusting(helper, distance), packet);
    assert.deepEqual([result.action, result.packet.length], [action, length], `helper ${helper}, ${distance}`);
  }
});

test('a pointer into the packet from before its ends moved is reported', () => {
  const text = 'mov %r6, %r1\nldxw %r7, [%r1]\nmov %r2, 0\ncall 44\nldxb %r0, [%r7]\nexit';
  const message = /^instruction 4 .*reads 1 byte of the packet: its ends were moved; load data and data_end again$/;
  assert.throws(() => new XdpMachine(assemble(text)).run({ packet }), { name: 'VmFault', message });
});

test('a packet read beyond data_end, and a context written, are reported', () => {
  const beyond = 'ldxw %r2, [%r1]\nldxb %r0, [%r2+60]\nexit';
  assert.throws(() => new XdpMachine(assemble(beyond)).run({ packet }), /offset 60 of the packet, which has 60 bytes$/);
  const written = 'stw [%r1+12], 0\nmov %r0, 2\nexit';
  assert.throws(() => new XdpMachine(assemble(written)).run({ packet }), /the context, which is read-only$/);
  const half = 'ldxh %r0, [%r1+2]\nexit';
  assert.throws(() => new XdpMachine(assemble(half)).run({ packet }), /across a pointer; load 4 at 0$/);
});

test('one machine runs over many packets', () => {
  const machine = new XdpMachine(assemble(adjusting(44, 14)));
  for (let round = 0; round < 100; round++) assert.equal(machine.run({ packet }).packet.length, 46);
});
