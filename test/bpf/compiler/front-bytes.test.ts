/**
 * Bytes as values: addresses and texts that are written out, what is compared by `equal`, and arrays of contexts, which the kernel lets
 * programs read one element at a time.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { compileText } from '../../../src/bpf/compiler/compile.ts';
import { loadObject } from '../../../src/bpf/loader/collection.ts';
import { instantiate } from '../../../src/bpf/vm/object.ts';
import { kernelSkip } from '../../support/bpf.ts';
import { moduleOf, refusals } from '../../support/bpf-compiler.ts';

const object = (text: string, optimise: boolean) =>
  compileText(moduleOf(text), 'bytes.bpf.ts', { optimise, check: true });

/** The result of an expression of the language, with and without the optimiser, over this packet. */
function results(expression: string, packet: Uint8Array): number[] {
  const text = `
    const Pair = struct({ one: array(be32, 4), other: array(u8, 16) });
    export const address = global(array(be32, 4), ipv6('2001:db8::1'));
    export const name = global(array(u8, 16), 'name');
    export const main = xdp((context) => {
      const bytes = packet(context, array(u8, 16), 0);
      const words = packet(context, array(be32, 4), 0);
      if (bytes === null || words === null) return 4;
      const pair = local(Pair, { one: words.value, other: bytes.value });
      return ${expression};
    });`;
  return [true, false].map((optimise) => instantiate(object(text, optimise)).programs.main.run({ packet }).action);
}

const wire = Uint8Array.from([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
const other = wire.with(15, 2);
const text = Uint8Array.from({ ...[0x6e, 0x61, 0x6d, 0x65], length: 16 });

const comparisons: readonly (readonly [expression: string, packet: Uint8Array, result: 0 | 1])[] = [
  ["equal(words.value, ipv6('2001:db8::1'))", wire, 1],
  ["equal(bytes.value, ipv6('2001:db8::1'))", wire, 1],
  ["equal(bytes.value, ipv6('2001:db8::1'))", other, 0],
  ['equal(address.value, words.value)', wire, 1],
  ['equal(words.value, address.value)', other, 0],
  ['equal(pair.one, pair.other)', other, 1],
  ['equal(pair.one, [0x20010db8, 0, 0, 1])', wire, 1],
  ['equal([0x20010db8, 0, 0, 1], pair.one)', other, 0],
  ["equal(bytes.value, 'name')", text, 1],
  ["equal(bytes.value, 'nam')", text, 0],
  ['equal(name.value, bytes.value)', text, 1],
  ["words.value[3] === ipv4('0.0.0.2')", other, 1],
];

for (const [expression, packet, result] of comparisons) {
  test(`${expression} of ${Buffer.from(packet).toString('hex')} is ${result}`, () => {
    assert.deepEqual(results(expression, packet), [result, result]);
  });
}

test('text and addresses are the beginning of memory on the stack, and are assigned', () => {
  const source = `
    const Rule = struct({ name: array(u8, 8), address: array(be32, 4), port: u16 });
    const HOME = ipv6('::1');
    export const kept = global(Rule);
    export const main = xdp(() => {
      const rule = local(Rule, { name: 'first', address: HOME, port: 5 });
      kept.value = rule;
      kept.value.address = ipv6('2001:db8::ff');
      return XDP_PASS;
    });`;
  for (const optimise of [true, false]) {
    const { programs, variables } = instantiate(object(source, optimise));
    programs.main.run({ packet: new Uint8Array(14) });
    assert.deepEqual(variables.kept.value, {
      name: Uint8Array.from([0x66, 0x69, 0x72, 0x73, 0x74, 0, 0, 0]),
      address: [0x20010db8, 0, 0, 0xff],
      port: 5,
    });
  }
});

test('arrays of contexts and sockets are read as the kernel allows it', { skip: kernelSkip }, () => {
  const source = `
    export const peers = hash({ key: array(be32, 4), value: u32, maxEntries: 4 });
    export const connect = cgroupConnect6((context) => {
      if (peers.lookup(context.user_ip6) !== null) context.user_ip6 = ipv6('::1');
      return equal(context.user_ip6, ipv6('::2')) ? 0 : 1;
    });
    export const steer = skLookup((context) => {
      peers.update(context.remote_ip6, 1);
      return equal(context.local_ip6, context.remote_ip6) ? SK_DROP : SK_PASS;
    });
    export const watch = sockOps((context) => {
      const socket = context.sk;
      if (socket !== null && equal(socket.src_ip6, context.local_ip6)) peers.delete(socket.dst_ip6);
      return 1;
    });`;
  for (const optimise of [true, false]) loadObject(object(source, optimise))[Symbol.dispose]();
});

test('a context without an annotation goes to helpers, and has no fields', () => {
  const taken = 'const stacks = stackTrace({ value: array(u64, 16), maxEntries: 4 });';
  const inHook = (parameter: string, body: string): string[] =>
    refusals(`${taken}\nexport const main = tracepoint('sched/sched_switch', (${parameter}) => { ${body} });`);
  assert.deepEqual(inHook('context', 'stacks.get(context, 0);'), []);
  const advice = 'declare const Event = struct({ common: u64, … }) and write (context: Value<typeof Event>)';
  // The kernel’s types have no such field, so that they are no help.
  assert.deepEqual(inHook('context', 'return context.no_such_field;'), [
    `3:76 the fields of this context are not known; ${advice}`,
  ]);
  for (const parameter of ['context: { pid: u32 }', 'context: object', 'context: unknown']) {
    assert.deepEqual(inHook(parameter, 'return 0;'), [
      `3:55 this annotation does not say where the fields lie; ${advice}`,
    ]);
  }
});

const mistakes: readonly (readonly [expression: string, refusal: string])[] = [
  ['equal(1, 2)', '3:7 the number 1 has no bytes to compare; compare numbers with ==='],
  [
    'equal(local(array(u8, 4)), local(array(u8, 8)))',
    '3:28 array(u8, 4) and array(u8, 8) are of different sizes; only the same size can be equal',
  ],
  ["equal(local(array(u8, 2)).value, 'abc')", '3:34 3 bytes of text do not fit array(u8, 2)'],
  ["ipv4('192.0.2.256') === 1", '3:6 "192.0.2.256" is no IPv4 address'],
  ['ipv4(context) === 1', "3:1 ipv4 takes an address that is written out; write ipv4('192.0.2.1')"],
];

for (const [expression, refusal] of mistakes) {
  test(`${expression} is refused`, () => {
    assert.deepEqual(refusals(`export const main = xdp((context) =>\n${expression} ? 1 : 2);`), [refusal]);
  });
}
