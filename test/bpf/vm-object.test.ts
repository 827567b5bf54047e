/**
 * Whole objects in the VM, compiled from the language: verdicts, maps, variables, effects; and faults at the source
 * line, by the variable's name.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { compileText } from '../../src/bpf/compiler/compile.ts';
import { type InstantiateOptions, instantiate, type VmObject } from '../../src/bpf/index.ts';
import { XDP_DROP, XDP_PASS, XDP_REDIRECT } from '../../src/kernel/bpf-abi.ts';
import { functionOf, kind, mapOf, objectOf } from '../support/bpf-object.ts';
import { ETHERTYPE, ethernet, ipv4, PROTOCOL, tcp, udp } from '../support/packets.ts';

const packet = ethernet({ type: ETHERTYPE.ipv4 }, ipv4({ protocol: PROTOCOL.tcp }, tcp({}, new Uint8Array(20))));
const SOURCE = 0xc0000201;

/** An object from the body of a module that imports everything it may need. */
function build(body: string, options?: InstantiateOptions): VmObject {
  const names = body.match(/\b[A-Za-z_]\w*\b/g) ?? [];
  const imports = [...new Set(names)].filter((name) => library.has(name));
  return instantiate(
    compileText(`import { ${imports.join(', ')} } from 'millrace/bpf';\n${body}`, 'sample.bpf.ts'),
    options,
  );
}

const library = new Set(Object.keys(await import('../../src/bpf/library/index.ts')));

const filter = `export const blocked = hash({ key: u32, value: u64, maxEntries: 100 });
export const seen = global(u64, 0n);
export const limit = readOnly(u32, 100);
const Event = struct({ source: u32, hits: u64 });
export const events = ringBuffer({ maxEntries: 4096 });
export const drop = xdp((context) => {
  seen.value += 1n;
  const frame = packet(context, Ethernet, 0);
  if (frame === null || frame.protocol !== 0x0800) return XDP_PASS;
  const ip = packet(context, Ipv4, Ethernet.size);
  if (ip === null) return XDP_PASS;
  const hits = blocked.lookup(ip.source);
  if (hits === null) return XDP_PASS;
  hits.value += 1n;
  if (hits.value > u64(limit.value)) {
    const event = events.reserve(Event);
    if (event === null) return XDP_DROP;
    event.source = ip.source;
    event.hits = hits.value;
    events.submit(event);
  }
  return XDP_DROP;
});`;

test('a program acts on packets, maps and variables, and sends events', () => {
  const object = build(filter, { constants: { limit: 1 } });
  const { drop } = object.programs;

  assert.equal(drop.run({ packet }).action, XDP_PASS);
  object.maps.blocked.set(SOURCE, 0n);
  const results = [drop.run({ packet }), drop.run({ packet }), drop.run({ packet })];

  assert.deepEqual(
    results.map(({ action }) => action),
    [XDP_DROP, XDP_DROP, XDP_DROP],
  );
  assert.deepEqual(object.maps.blocked.entries(), [[SOURCE, 3n]]);
  assert.equal(object.variables.seen.value, 4n);
  const records = object.maps.events.records().map((record) => Buffer.from(record).readBigUInt64LE(8));
  assert.deepEqual(records, [2n, 3n]);
  assert.ok(results[2].executed > results[0].executed, 'the run that sends an event executes more');
});

test('a variable may be given before and between runs', () => {
  const object = build(filter);
  object.maps.blocked.set(SOURCE, 0n);
  object.programs.drop.run({ packet });
  assert.deepEqual(object.maps.events.records(), []);
  object.variables.limit.value = 0;
  object.programs.drop.run({ packet });
  assert.equal(object.maps.events.records().length, 1);
  assert.throws(() => build(filter, { constants: { limits: 1 } }), /no variable limits/);
});

test('the fast way gives the same verdicts', () => {
  const object = build(filter);
  object.maps.blocked.set(SOURCE, 0n);
  const other = ethernet({ type: ETHERTYPE.ipv4 }, ipv4({ protocol: PROTOCOL.udp, source: '192.0.2.77' }, udp()));
  assert.deepEqual(
    [packet, other, packet].map((data) => object.programs.drop.verdict(data)),
    [XDP_DROP, XDP_PASS, XDP_DROP],
  );
  assert.equal(object.maps.blocked.get(SOURCE), 2n);
});

test('two objects may share a map', () => {
  const first = build(filter);
  const second = build(filter, { maps: { blocked: first.maps.blocked } });
  first.maps.blocked.set(SOURCE, 5n);
  second.programs.drop.run({ packet });
  assert.equal(first.maps.blocked.get(SOURCE), 6n);
});

/** An XDP program by hand, whose instructions have lines and whose registers have names. */
function named(text: string, names: readonly (string | null)[], maps = [mapOf('hits', 'hash')]): VmObject {
  const one = functionOf('probe', text, { kind: kind('xdp'), relocations: mapLoads(text) });
  const lines = one.instructions.map((_, index) => ({
    index,
    file: 'probe.bpf.ts',
    line: 10 + index,
    column: 3,
    text: `  statement ${index};`,
  }));
  const functions = [{ ...one, lines, registerNames: [{ index: 0, names }] }];
  return instantiate(objectOf({ functions, maps }));
}

/** Every `lddw %r1, 0` of a text loads the map `hits`. */
const mapLoads = (text: string) =>
  text.split('\n').flatMap((line, index) => (line.startsWith('lddw %r1, 0') ? [[index, 'map', 'hits'] as const] : []));

function faultOf(run: () => unknown): { readonly message: string; readonly problem: string } {
  try {
    run();
  } catch (error) {
    if (error instanceof Error && 'problem' in error) return { message: error.message, problem: String(error.problem) };
    throw error;
  }
  return assert.fail('the program was not stopped');
}

test('a fault is told at the source line, with the variable’s name', () => {
  const lookup = 'stw [%r10-4], 1\nlddw %r1, 0\nmov %r2, %r10\nadd %r2, -4\ncall 1\nldxdw %r0, [%r0]\nexit';
  const names = ['found', ...Array<null>(10).fill(null)];
  const { message } = faultOf(() => named(lookup, names).programs.probe.run({ packet }));
  assert.equal(
    message,
    'probe.bpf.ts:15:3: found (%r0) may be null: map_lookup_elem finds nothing at times; compare it with 0 first\n' +
      '    statement 5;\n    ^',
  );
});

test('a packet byte that was not compared with data_end is refused though it is there', () => {
  const unchecked = 'ldxw %r2, [%r1]\nldxb %r0, [%r2+12]\nexit';
  const names = [null, null, 'ethernet', ...Array<null>(8).fill(null)];
  assert.equal(
    faultOf(() => named(unchecked, names).programs.probe.run({ packet })).problem,
    'ethernet reads 1 byte at offset 12 of the packet, without comparing with data_end before',
  );
  const partly = `ldxw %r2, [%r1]\nldxw %r3, [%r1+4]\nmov %r4, %r2\nadd %r4, 12\nmov %r0, 0\njgt %r4, %r3, out\n
    ldxb %r0, [%r2+11]\nldxb %r0, [%r2+12]\nout: exit`;
  assert.match(
    faultOf(() => named(partly, names).programs.probe.run({ packet })).problem,
    /offset 12 of the packet, of which 12 bytes were compared with data_end before$/,
  );
});

test('every form of comparing with data_end shows what it shows', () => {
  const forms: [string, number][] = [
    ['jgt %r4, %r3, out', 20],
    ['jge %r4, %r3, out', 21],
    ['jlt %r3, %r4, out', 20],
    ['jle %r3, %r4, out', 21],
    ['jle %r4, %r3, +1\nja out', 20],
    ['jlt %r4, %r3, +1\nja out', 21],
    ['jge %r3, %r4, +1\nja out', 20],
    ['jgt %r3, %r4, +1\nja out', 21],
  ];
  for (const [form, shown] of forms) {
    const text = (offset: number) =>
      `ldxw %r2, [%r1]\nldxw %r3, [%r1+4]\nmov %r4, %r2\nadd %r4, 20\nmov %r0, 7\n${form}\nldxb %r5, [%r2+${offset}]\nout: exit`;
    assert.equal(named(text(shown - 1), []).programs.probe.run({ packet }).action, 7, form);
    assert.match(faultOf(() => named(text(shown), []).programs.probe.run({ packet })).problem, /^reads 1 byte/, form);
    // A packet that ends before is never touched.
    assert.equal(named(text(shown), []).programs.probe.run({ packet: packet.subarray(0, 14) }).action, 7, form);
  }
});

test('stack that was never written may be read only where that is allowed', () => {
  const text = 'stw [%r10-8], 0\nldxdw %r0, [%r10-8]\nexit';
  assert.equal(
    faultOf(() => named(text, []).programs.probe.run({ packet })).problem,
    'reads 8 bytes of the stack of frame 0, where nothing was written at %r10-4 yet',
  );
  const spec = objectOf({ functions: [functionOf('probe', text, { kind: kind('xdp') })] });
  instantiate(spec, { checkStack: false }).programs.probe.run({ packet });
});

test('a helper may not read what was never written, and what it writes may be read', () => {
  const asKey = 'stw [%r10-8], 1\nlddw %r1, 0\nmov %r2, %r10\nadd %r2, -6\ncall 1\nmov %r0, 0\nexit';
  assert.equal(
    faultOf(() => named(asKey, []).programs.probe.run({ packet })).problem,
    'argument 2: reads 4 bytes of the stack of frame 0, where nothing was written at %r10-4 yet',
  );
  const filled = 'mov %r1, %r10\nadd %r1, -16\nmov %r2, 16\ncall 16\nldxb %r0, [%r10-16]\nexit';
  assert.equal(named(filled, []).programs.probe.run({ packet }).action, 'p'.charCodeAt(0));
});

test('a record that is neither submitted nor discarded is a fault, and so is one used afterwards', () => {
  const maps = [mapOf('hits', 'ringbuf', { keyBytes: 0, valueBytes: 0, maxEntries: 4096 })];
  const reserve = 'lddw %r1, 0\nmov %r2, 8\nmov %r3, 0\ncall 131\njeq %r0, 0, out\n';
  const kept = faultOf(() => named(`${reserve}out: mov %r0, 0\nexit`, [], maps).programs.probe.run({ packet }));
  assert.match(kept.problem, /^ends without giving back a record reserved in hits$/);
  const used = `${reserve}mov %r6, %r0\nmov %r1, %r0\nmov %r2, 0\ncall 132\nstdw [%r6], 1\nout: mov %r0, 0\nexit`;
  assert.equal(
    faultOf(() => named(used, [], maps).programs.probe.run({ packet })).problem,
    'writes 8 bytes of a record reserved in hits: it was submitted',
  );
});

test('a verdict that the program’s type does not know is a fault', () => {
  const spec = objectOf({ functions: [functionOf('probe', 'mov %r0, 2\nexit', { kind: kind('cgroup_skb') })] });
  assert.equal(faultOf(() => instantiate(spec).programs.probe.run({ packet })).problem, 'returns 2: 0 to 1 is allowed');
  const egress = kind('cgroup_skb', { attachType: 'cgroup_inet_egress' });
  const allowed = objectOf({ functions: [functionOf('probe', 'mov %r0, 2\nexit', { kind: egress })] });
  assert.equal(instantiate(allowed).programs.probe.run({ packet }).action, 2);
});

test('an endless loop ends at the bound that is given', () => {
  const spec = objectOf({ functions: [functionOf('probe', 'again: ja again', { kind: kind('xdp') })] });
  const object = instantiate(spec, { instructionsMax: 500 });
  assert.match(faultOf(() => object.programs.probe.run({ packet })).problem, /^more than 500 instructions ran/);
});

test('what the VM does not have is named where it is called, and may be given', () => {
  const text = 'mov %r1, 1\ncall 20\nmov %r0, 9\nexit';
  const spec = objectOf({ functions: [functionOf('probe', text, { kind: kind('xdp') })] });
  assert.match(
    faultOf(() => instantiate(spec).programs.probe.run({ packet })).problem,
    /^calls bpf_skb_get_tunnel_key/,
  );
  const helper = { name: 'own', arguments: 1, run: (call: { returns(value: number): void }) => call.returns(4) };
  const given = instantiate(spec, { helpers: new Map([[20, helper]]) });
  assert.equal(given.programs.probe.run({ packet }).action, 9);

  const calling = functionOf('probe', 'mov %r1, 5\ncall 0\nexit', {
    kind: kind('xdp'),
    relocations: [[1, 'kernelFunction', 'bpf_own']],
  });
  const withKernel = objectOf({ functions: [calling] });
  assert.match(
    faultOf(() => instantiate(withKernel).programs.probe.run({ packet })).problem,
    /^calls the kernel's bpf_own/,
  );
  const kernelFunctions = {
    bpf_own: (call: { signed(n: number): number; returns(value: number): void }) => call.returns(call.signed(1) * 2),
  };
  assert.equal(instantiate(withKernel, { kernelFunctions }).programs.probe.run({ packet }).action, 10);
});

test('tail calls go on in another program, 33 times at most, and fall through elsewhere', () => {
  const again = 'lddw %r2, 0\nmov %r3, 0\ncall 12\nmov %r0, 5\nexit';
  const counting = `mov %r6, %r1\nlddw %r1, 0\nldxdw %r2, [%r1]\nadd %r2, 1\nstxdw [%r1], %r2\nmov %r1, %r6\n${again}`;
  const data = [
    {
      name: '.bss',
      bytes: new Uint8Array(8),
      readOnly: false,
      variables: [{ name: 'runs', offset: 0, bytes: 8, type: null }],
      typeId: 0,
    },
  ];
  const loops = functionOf('loops', counting, {
    kind: kind('xdp'),
    relocations: [
      [1, 'data', '.bss'],
      [6, 'map', 'jumps'],
    ],
  });
  const missing = functionOf('missing', again.replace('%r3, 0', '%r3, 1'), {
    kind: kind('xdp'),
    relocations: [[0, 'map', 'jumps']],
  });
  const maps = [mapOf('jumps', 'prog_array', { valueBytes: 4, maxEntries: 2, values: ['loops', null] })];
  const object = instantiate(objectOf({ functions: [loops, missing], maps, data }));
  assert.equal(object.programs.loops.run({ packet }).action, 5);
  assert.deepEqual(object.variables.runs.value, Uint8Array.of(34, 0, 0, 0, 0, 0, 0, 0));
  assert.equal(object.programs.missing.run({ packet }).action, 5);
  object.maps.jumps.refer(Uint8Array.of(1, 0, 0, 0), object.programs.loops);
  object.programs.missing.run({ packet });
  assert.equal((object.variables.runs.value as Uint8Array)[0], 34 + 33, 'the call that begins counts, too');
});

test('what a program had done with a packet is recorded', () => {
  const text = 'lddw %r1, 0\nmov %r2, 3\nmov %r3, 2\ncall 51\nexit';
  const maps = [mapOf('hits', 'devmap', { valueBytes: 4 })];
  const object = named(text, [], maps);
  assert.equal(object.programs.probe.run({ packet }).action, 2, 'the fallback, as no device is there');
  object.maps.hits.set(Uint8Array.of(3, 0, 0, 0), Uint8Array.of(7, 0, 0, 0));
  const { action, effects } = object.programs.probe.run({ packet });
  assert.equal(action, XDP_REDIRECT);
  assert.deepEqual(effects, [{ kind: 'redirectMap', map: 'hits', key: Uint8Array.of(3, 0, 0, 0), flags: 2n }]);
});

test('contexts are given and read by the kernel’s names', () => {
  const object = build(`export const rewrite = cgroupConnect4((context) => {
    if (context.user_ip4 !== 0x7f000001) return 1;
    context.user_ip4 = 0x0a000001;
    return 1;
  });
  export const judge = tcxIngress((context) => {
    context.mark = context.mark + 1;
    return context.protocol === 0x0800 ? 0 : 2;
  });`);
  const { context } = object.programs.rewrite.run({ context: { user_ip4: 0x7f000001, family: 2 } });
  assert.equal(context.user_ip4, 0x0a000001);
  const judged = object.programs.judge.run({ packet, context: { mark: 41 } });
  assert.deepEqual([judged.action, judged.context.mark], [0, 42]);
  assert.throws(() => object.programs.judge.run({ packet, context: { marks: 1 } }), /__sk_buff has no field marks/);
});

test('arguments of tracepoints are numbers or memory', () => {
  const task = Buffer.alloc(16);
  task.writeUInt32LE(4321, 8);
  const text = 'ldxdw %r2, [%r1+8]\nldxw %r0, [%r2+8]\nldxdw %r3, [%r1]\nadd %r0, %r3\nexit';
  const spec = objectOf({ functions: [functionOf('probe', text, { kind: kind('raw_tracepoint') })] });
  const { probe } = instantiate(spec).programs;
  assert.equal(probe.run({ arguments: [5n, task] }).action, 4326);
  const outer = Buffer.alloc(16);
  const through = 'ldxdw %r2, [%r1]\nldxdw %r2, [%r2+8]\nldxw %r0, [%r2+8]\nexit';
  const object = instantiate(objectOf({ functions: [functionOf('probe', through, { kind: kind('raw_tracepoint') })] }));
  outer.writeBigUInt64LE(object.addressOf(task), 8);
  assert.equal(object.programs.probe.run({ arguments: [outer] }).action, 4321);
  assert.match(faultOf(() => probe.run({ arguments: [5n, 0x9000n] })).problem, /at 0x9000 \+ 8, which is no pointer$/);
});
