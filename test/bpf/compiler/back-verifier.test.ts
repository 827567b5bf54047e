/**
 * What the back end must not break for the kernel's verifier: it learns from a comparison about one register and its copies, and
 * follows them through the stack. Programs run in the VM, too, with the same verdicts.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { VmMap, XdpMachine } from '../../../src/bpf/assembly.ts';
import { generate } from '../../../src/bpf/compiler/back/index.ts';
import { Builder } from '../../../src/bpf/compiler/builder.ts';
import type { Bits, Condition, IrFunction, Space, Value } from '../../../src/bpf/compiler/ir.ts';
import { createMap, loadProgram } from '../../../src/bpf/index.ts';
import { U32, U64 } from '../../../src/bpf/types.ts';
import { kernelSkip } from '../../support/bpf.ts';
import { joinFunctions } from '../../support/bpf-ir.ts';

const XDP_DROP = 1;
const XDP_PASS = 2;
const LOOKUP = { kind: 'helper', id: 1, name: 'map_lookup_elem' } as const;
const NOW = { kind: 'helper', id: 5, name: 'ktime_get_ns' } as const;
const blocked = { type: 'hash', keySize: 4, valueSize: 8, maxEntries: 16 } as const;

/** An XDP program's builder with what such programs do often. */
class Xdp {
  readonly builder: Builder;
  readonly context: Value;

  constructor() {
    const signature = { parameters: [{ name: 'context', type: U64 }], result: U32 };
    this.builder = new Builder({ name: 'xdp', signature, linkage: 'global', location: null, spaces: ['context'] });
    [this.context] = this.builder.function.parameters;
  }

  /** Returns `verdict` where the condition holds, and goes on elsewhere. */
  leave(condition: Condition, bits: Bits, left: Value, right: Value, verdict = XDP_PASS): void {
    const { builder } = this;
    const [out, next] = [builder.block(), builder.block()];
    builder.branch(condition, bits, left, right, out, next);
    builder.seal(out);
    builder.seal(next);
    builder.enter(out);
    builder.return(builder.constant(verdict));
    builder.enter(next);
  }

  plus(address: Value, bytes: number | Value, space: Space = 'packet'): Value {
    const { builder } = this;
    return builder.binary('add', 64, address, typeof bytes === 'number' ? builder.constant(bytes) : bytes, space);
  }

  /** The packet's address, `bytes` of it checked. */
  packet(bytes: number): { readonly data: Value; readonly end: Value } {
    const { builder, context } = this;
    const data = builder.load(4, false, context, 'packet', { offset: 0 });
    const end = builder.load(4, false, context, 'packetEnd', { offset: 4 });
    this.leave('ugt', 64, this.plus(data, bytes), end);
    return { data, end };
  }

  lookup(key: Value): Value {
    const { builder } = this;
    const slot = builder.slot(4, 4, 'key');
    builder.store(4, builder.stackAddress(slot), key);
    return builder.call(LOOKUP, [builder.mapAddress('blocked'), builder.stackAddress(slot)], 'mapValue');
  }
}

/** Runs a program over a packet in the VM and, where that is allowed, in the kernel. The map has an entry of value 5 under key 7. */
function verdicts(target: IrFunction, packet: Uint8Array): number[] {
  const functions = generate({ files: [], functions: [target] });
  const key = Uint8Array.of(7, 0, 0, 0);
  const value = Uint8Array.of(5, 0, 0, 0, 0, 0, 0, 0);
  const map = new VmMap(blocked);
  map.set(key, value, 0, 0);
  const found = [
    new XdpMachine(
      joinFunctions(functions, () => 1),
      { maps: new Map([[1, map]]) },
    ).run({ packet }).action,
  ];
  if (kernelSkip !== false) return found;
  using kernelMap = createMap(blocked);
  kernelMap.set(key, value);
  using program = loadProgram({ type: 'xdp', instructions: joinFunctions(functions, () => kernelMap.descriptor) });
  return [...found, program.testRun({ data: packet }).result];
}

function expectVerdict(target: IrFunction, bytes: readonly number[], verdict: number): void {
  const packet = new Uint8Array(64);
  packet.set(bytes);
  for (const found of verdicts(target, packet)) assert.equal(found, verdict);
}

test('a look-up of a checked byte and a test for null', () => {
  const xdp = new Xdp();
  const { builder } = xdp;
  const { data } = xdp.packet(20);
  const hit = xdp.lookup(builder.load(1, false, data, 'scalar', { offset: 14 }));
  xdp.leave('eq', 64, hit, builder.constant(0));
  builder.store(8, hit, builder.binary('add', 64, builder.load(8, false, hit), builder.constant(1)));
  builder.return(builder.constant(XDP_DROP));
  const program = builder.finish();
  expectVerdict(program, [...new Array(14).fill(0), 7], XDP_DROP);
  expectVerdict(program, [...new Array(14).fill(0), 8], XDP_PASS);
});

test('an index that was compared in 32 bits bounds the access', () => {
  const xdp = new Xdp();
  const { builder } = xdp;
  const { data, end } = xdp.packet(15);
  const index = builder.load(1, false, data, 'scalar', { offset: 14 });
  xdp.leave('ugt', 32, index, builder.constant(40));
  const field = xdp.plus(data, builder.unary('zext', 4, index));
  xdp.leave('ugt', 64, xdp.plus(field, 2), end);
  xdp.leave('eq', 32, builder.load(2, false, field), builder.constant(0x0201), XDP_DROP);
  builder.return(builder.constant(XDP_PASS));
  const program = builder.finish();
  const packet = new Array<number>(64).fill(0);
  packet[14] = 30;
  expectVerdict(program, packet, XDP_PASS);
  packet[30] = 1;
  packet[31] = 2;
  expectVerdict(program, packet, XDP_DROP);
});

test('pointers that found no register keep what the verifier knows of them', () => {
  const xdp = new Xdp();
  const { builder, context } = xdp;
  const { data } = xdp.packet(40);
  const hit = xdp.lookup(builder.constant(7));
  // More values than registers live across the calls: some go to memory before they are tested, some behind it.
  const bytes = Array.from({ length: 8 }, (_, offset) =>
    builder.load(1, false, data, 'scalar', { offset: 14 + offset }),
  );
  builder.call(NOW, []);
  xdp.leave('eq', 64, hit, builder.constant(0));
  builder.call(NOW, []);
  let sum = builder.load(8, false, hit);
  for (const byte of bytes) sum = builder.binary('add', 64, sum, byte);
  sum = builder.binary('add', 64, sum, builder.load(1, false, data, 'scalar', { offset: 39 }));
  sum = builder.binary('add', 64, sum, builder.load(4, false, context, 'scalar', { offset: 16 }));
  xdp.leave('eq', 64, sum, builder.constant(13), XDP_DROP);
  builder.return(builder.constant(XDP_PASS));
  const program = builder.finish();
  expectVerdict(program, [...new Array(14).fill(0), 1, 1, 1, 1, 1, 1, 1, 1], XDP_DROP);
  expectVerdict(program, [], XDP_PASS);
});

test('a signed remainder without the instruction for it leaves the verifier content', () => {
  const xdp = new Xdp();
  const { builder } = xdp;
  const { data } = xdp.packet(40);
  const number = builder.load(4, true, data, 'scalar', { offset: 14 });
  const divisor = builder.load(4, true, data, 'scalar', { offset: 18 });
  const rest = builder.unary('sext', 4, builder.binary('smod', 32, number, divisor));
  const quotient = builder.unary('sext', 4, builder.binary('sdiv', 32, number, builder.constant(-2)));
  xdp.leave('ne', 64, rest, builder.constant(-1));
  xdp.leave('eq', 64, quotient, builder.constant(3), XDP_DROP);
  builder.return(builder.constant(XDP_PASS));
  // -7 % 3 is -1, and -7 / -2 is 3.
  expectVerdict(builder.finish(), [...new Array(14).fill(0), 0xf9, 0xff, 0xff, 0xff, 3], XDP_DROP);
});
