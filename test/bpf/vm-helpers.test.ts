/**
 * The VM's other helpers: text, loops, walks over maps, queues, buffers, storage, dynptrs. Where the kernel lets a
 * socket filter call them, both are asked and must agree.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import type { World } from '../../src/bpf/assembly.ts';
import { instantiate, type VmObject } from '../../src/bpf/index.ts';
import { catalogue } from '../../src/bpf/library/catalogue.ts';
import { loadObject } from '../../src/bpf/loader/collection.ts';
import type { MapSpec, ObjectSpec, Relocation } from '../../src/bpf/object/spec.ts';
import { HELPERS, type HelperName } from '../../src/kernel/bpf-helpers.ts';
import { kernelSkip } from '../support/bpf.ts';
import { functionOf, kind, mapOf, objectOf, sectionOf } from '../support/bpf-object.ts';

test('helpers have the numbers under which the library, which is pinned to the headers, knows them', () => {
  const known = [...catalogue.values()].filter((one) => one.kind === 'helper');
  assert.ok(known.length > 200, `${known.length} helpers`);
  const numbers: Readonly<Record<string, number>> = HELPERS;
  for (const { name, id } of known) assert.equal(numbers[name.replace(/^bpf_/, '')], id, name);
});

type Relocated = readonly [number, Relocation['kind'], string, number?];

interface Sample {
  readonly type?: string;
  readonly maps?: readonly MapSpec[];
  /** Texts of .rodata; `{text:0}` in a wide load's comment means the first. */
  readonly texts?: readonly string[];
  readonly callback?: string;
}

const helper = (name: HelperName): string => `call ${HELPERS[name]}`;

/**
 * An object of one program, `probe`. In its text `lddw %rN, NAME` loads the address of the map of that name, `text0` that of the first
 * text, and `callback` that of the function of that name.
 */
function sample(text: string, { type = 'sched_cls', maps = [], texts = [], callback }: Sample = {}): ObjectSpec {
  const starts = texts.map((_, index) => texts.slice(0, index).reduce((sum, one) => sum + one.length + 1, 0));
  const relocate = (source: string) => {
    const relocations: Relocated[] = [];
    const lines = source.split('\n').filter((line) => line.trim() !== '');
    const plain = lines.map((line, index) => {
      const found = /^(\s*lddw %r\d), ([a-z]+)(\d*)$/.exec(line);
      if (found === null) return line;
      if (found[2] === 'text') relocations.push([index, 'data', '.rodata', starts[Number(found[3])]]);
      else relocations.push([index, found[2] === 'callback' ? 'callback' : 'map', found[2]]);
      return `${found[1]}, 0`;
    });
    return { text: plain.join('\n'), relocations };
  };
  const program = relocate(`${text}\nexit`);
  const functions = [functionOf('probe', program.text, { kind: kind(type), relocations: program.relocations })];
  if (callback !== undefined) {
    const called = relocate(callback);
    functions.push(functionOf('callback', called.text, { relocations: called.relocations }));
  }
  const bytes = Buffer.from(texts.map((one) => `${one}\0`).join(''));
  return objectOf({ functions, maps, data: texts.length === 0 ? [] : [sectionOf('.rodata', bytes)] });
}

const packet = new Uint8Array(64);

function inVm(spec: ObjectSpec, world?: World): { readonly action: number; readonly object: VmObject } {
  const object = instantiate(spec, { world });
  return { action: object.programs.probe.run({ packet }).action, object };
}

/** Runs it in the VM and, where that may be, in the kernel; both must give this. */
function expect(spec: ObjectSpec, action: number, what: string): void {
  assert.equal(inVm(spec).action, action, `${what} in the VM`);
  // A callback needs types, which objects by hand have not; the suite's byte-counter has one in the kernel.
  if (kernelSkip !== false || spec.functions.length > 1) return;
  using collection = loadObject(spec);
  assert.equal(collection.programs.probe.testRun({ data: packet }).result | 0, action, `${what} in the kernel`);
}

test('texts are formatted as in the kernel', () => {
  const formats: [string, string][] = [
    ['%d %u', '-5 4294967291'],
    ['%ld %lx', '-5 fffffffffffffffb'],
    ['%x|%8x|%08x', 'fffffffb|fffffffb|fffffffb'],
    ['%c%%', '\u00fb%'],
  ];
  for (const [format, expected] of formats) {
    const count = (format.match(/%[^%]/g) ?? []).length;
    const values = Array.from({ length: count }, (_, index) => `stdw [%r10${index * 8 - 24}], -5`).join('\n');
    const zero = [-56, -48, -40, -32].map((at) => `stdw [%r10${at}], 0`).join('\n');
    const text = `${values}\n${zero}\nmov %r1, %r10\nadd %r1, -56\nmov %r2, 32\nlddw %r3, text0\nmov %r4, %r10\nadd %r4, -24
mov %r5, ${count * 8}\n${helper('snprintf')}`;
    expect(sample(text, { texts: [format] }), expected.length + 1, format);
    for (let at = 0; at < expected.length; at++) {
      const byte = `${text}\nldxb %r0, [%r10${at - 56}]`;
      expect(sample(byte, { texts: [format] }), expected.charCodeAt(at), `${format}, character ${at}`);
    }
  }
});

test('numbers are read from text as in the kernel', () => {
  // The number of characters, then the number; or twice the errno.
  const cases: [text: string, name: HelperName, base: number, length: number, value: number][] = [
    ['-42 x', 'strtol', 0, 3, -42],
    ['0x1f', 'strtol', 0, 4, 31],
    ['0x1f', 'strtol', 16, 4, 31],
    ['017', 'strtoul', 0, 3, 15],
    ['ff', 'strtoul', 16, 2, 255],
    ['9', 'strtoul', 8, -22, -22],
    ['x', 'strtol', 10, -22, -22],
    ['-1', 'strtoul', 10, -22, -22],
    ['99999999999999999999', 'strtoul', 10, -34, -34],
  ];
  for (const [text, name, base, length, value] of cases) {
    const padded = Buffer.alloc(24);
    padded.write(text);
    const stores = [0, 8, 16].map((at) => `lddw %r1, ${padded.readBigUInt64LE(at)}\nstxdw [%r10${at - 32}], %r1`);
    const call = `${stores.join('\n')}\nstdw [%r10-8], 7\nmov %r1, %r10\nadd %r1, -32\nmov %r2, ${text.length}
mov %r3, ${base}\nmov %r4, %r10\nadd %r4, -8\n${helper(name)}`;
    expect(sample(call), length, `${name} of ${text}`);
    expect(sample(`${call}\njslt %r0, 0, +1\nldxdw %r0, [%r10-8]`), value, `the number of ${text}`);
  }
});

test('texts are compared as in the kernel', () => {
  const cases: [string, string, number][] = [
    ['abcd', 'abcd', 0],
    ['abcd', 'abce', -1],
    ['abd\0', 'abcd', 1],
    ['ab\0x', 'ab', 0],
  ];
  for (const [left, right, sign] of cases) {
    const word = Buffer.from(left.padEnd(4, '\0'), 'latin1').readInt32LE(0);
    const text = `stw [%r10-4], ${word}\nmov %r1, %r10\nadd %r1, -4\nmov %r2, 4\nlddw %r3, text0\n${helper('strncmp')}
mov %r6, %r0\nmov %r0, 0\njeq32 %r6, 0, out\nmov %r0, 1\njsgt32 %r6, 0, out\nmov %r0, -1\nout: mov %r1, 0`;
    expect(sample(text, { texts: [right] }), sign, JSON.stringify([left, right]));
  }
});

const array = mapOf('numbers', 'array', { maxEntries: 4 });

test('a loop calls back with its number until told to stop', () => {
  const counting = 'ldxdw %r3, [%r2]\nadd %r3, %r1\nstxdw [%r2], %r3\nmov %r0, 0\njlt %r1, 5, +1\nmov %r0, 1\nexit';
  const text = (count: number) => `stdw [%r10-8], 0\nmov %r1, ${count}\nlddw %r2, callback\nmov %r3, %r10\nadd %r3, -8
mov %r4, 0\n${helper('loop')}`;
  for (const [count, turns, sum] of [
    [3, 3, 3],
    [100, 6, 15],
    [9_000_000, -7, 0],
  ]) {
    expect(sample(text(count), { callback: counting }), turns, `the turns of ${count}`);
    expect(sample(`${text(count)}\nldxdw %r0, [%r10-8]`, { callback: counting }), sum, `the sum of ${count}`);
  }
});

test('a walk visits every element of a map', () => {
  const adding = 'ldxw %r5, [%r2]\nldxdw %r1, [%r3]\nadd %r1, %r5\nadd %r1, 1\nstxdw [%r3], %r1\nmov %r0, 0\nexit';
  const text = `stdw [%r10-8], 0\nlddw %r1, numbers\nlddw %r2, callback\nmov %r3, %r10\nadd %r3, -8\nmov %r4, 0
${helper('for_each_map_elem')}`;
  const spec = sample(text, { maps: [array], callback: adding });
  expect(spec, 4, 'elements');
  const { object } = inVm(spec);
  assert.deepEqual(
    object.maps.numbers.entries().map(([, value]) => (value as Uint8Array)[0]),
    [1, 2, 3, 4],
  );
  const stopping = adding.replace('mov %r0, 0', 'mov %r0, 1');
  expect(sample(text, { maps: [array], callback: stopping }), 1, 'elements until told to stop');
});

for (const type of ['queue', 'stack']) {
  test(`a ${type} takes and gives values as in the kernel`, () => {
    const maps = [mapOf('values', type, { keyBytes: 0, maxEntries: 2 })];
    const at = 'mov %r2, %r10\nadd %r2, -8\n';
    const push = (value: number, flags = 0) =>
      `stdw [%r10-8], ${value}\nlddw %r1, values\n${at}mov %r3, ${flags}\n${helper('map_push_elem')}\n`;
    const take = (name: HelperName) => `stdw [%r10-8], 9\nlddw %r1, values\n${at}${helper(name)}\n`;
    const value = 'ldxdw %r0, [%r10-8]\n';
    const texts = [
      push(1) + push(2) + push(3),
      push(1) + push(2) + push(3, 2),
      push(1, 1),
      take('map_pop_elem'),
      take('map_pop_elem') + value,
      push(1) + push(2) + take('map_pop_elem') + value,
      push(1) + push(2) + take('map_peek_elem') + value,
      push(1) + push(2) + push(3, 2) + take('map_pop_elem') + value,
      push(1) + push(2) + push(3, 2) + take('map_pop_elem') + take('map_pop_elem') + value,
    ];
    for (const text of texts) {
      if (kernelSkip === false) {
        using collection = loadObject(sample(text, { maps }));
        const { result } = collection.programs.probe.testRun({ data: packet });
        assert.equal(inVm(sample(text, { maps })).action, result | 0, text);
      }
    }
    const { object } = inVm(sample(push(4) + push(5), { maps }));
    assert.deepEqual((object.maps.values.pop() as Uint8Array)[0], type === 'queue' ? 4 : 5);
  });
}

test('a bloom filter knows what was pushed', () => {
  const maps = [mapOf('values', 'bloom_filter', { keyBytes: 0 })];
  const call = (value: number, name: HelperName) =>
    `stdw [%r10-8], ${value}\nlddw %r1, values\nmov %r2, %r10\nadd %r2, -8\nmov %r3, 0\n${helper(name)}\n`;
  expect(sample(call(1, 'map_push_elem') + call(1, 'map_peek_elem'), { maps }), 0, 'what was pushed');
  expect(sample(call(1, 'map_push_elem') + call(2, 'map_peek_elem'), { maps }), -2, 'what was not');
});

test('maps of maps give the map that was put there, and need a look', () => {
  const inner = mapOf('inner', 'array', { maxEntries: 1 });
  const outer = mapOf('outer', 'array_of_maps', { valueBytes: 4, maxEntries: 2, inner, values: ['inner', null] });
  const text = (
    key: number,
  ) => `stw [%r10-4], ${key}\nlddw %r1, outer\nmov %r2, %r10\nadd %r2, -4\n${helper('map_lookup_elem')}
mov %r1, %r0\nmov %r0, 77\njeq %r1, 0, out\nstw [%r10-4], 0\nmov %r2, %r10\nadd %r2, -4\n${helper('map_lookup_elem')}
jeq %r0, 0, out\nldxdw %r0, [%r0]\nout: mov %r1, 0`;
  const object = instantiate(sample(text(0), { maps: [inner, outer] }));
  object.maps.inner.set(new Uint8Array(4), Uint8Array.of(33, 0, 0, 0, 0, 0, 0, 0));
  assert.equal(object.programs.probe.run({ packet }).action, 33);
  assert.equal(inVm(sample(text(1), { maps: [inner, outer] })).action, 77);
});

test('an LRU hash gives up what was used longest ago', () => {
  const spec = sample('mov %r0, 0', { maps: [mapOf('recent', 'lru_hash', { maxEntries: 2 })] });
  const { recent } = instantiate(spec).maps;
  const key = (value: number) => Uint8Array.of(value, 0, 0, 0);
  for (const value of [1, 2]) recent.set(key(value), new Uint8Array(8));
  recent.get(key(1));
  recent.set(key(3), new Uint8Array(8));
  assert.deepEqual(
    [1, 2, 3].map((value) => recent.get(key(value)) !== null),
    [true, false, true],
  );
});

test('records come in order, until the buffer is full', () => {
  const maps = [mapOf('events', 'ringbuf', { keyBytes: 0, valueBytes: 0, maxEntries: 64 })];
  const send = (value: number) =>
    `stdw [%r10-8], ${value}\nlddw %r1, events\nmov %r2, %r10\nadd %r2, -8\nmov %r3, 8\nmov %r4, 0\n${helper('ringbuf_output')}\n`;
  const { action, object } = inVm(sample([1, 2, 3, 4, 5].map(send).join(''), { maps }));
  assert.equal(action, -11);
  const { events } = object.maps;
  assert.deepEqual(
    events.records().map(([first]) => first),
    [1, 2, 3, 4],
  );
  const heard: number[] = [];
  events.listen(([first]) => heard.push(first));
  assert.equal(object.programs.probe.run({ packet }).action, 0);
  assert.deepEqual(heard, [1, 2, 3, 4, 5]);
});

test('a user ring buffer’s records reach the callback', () => {
  const maps = [mapOf('input', 'user_ringbuf', { keyBytes: 0, valueBytes: 0, maxEntries: 4096 })];
  const callback = `mov %r6, %r2\nmov %r3, %r1\nmov %r1, %r10\nadd %r1, -8\nmov %r2, 4\nmov %r4, 0\nmov %r5, 0\n${helper('dynptr_read')}
ldxw %r1, [%r10-8]\nldxdw %r2, [%r6]\nadd %r2, %r1\nstxdw [%r6], %r2\nmov %r0, 0\nexit`;
  const text = `stdw [%r10-8], 0\nlddw %r1, input\nlddw %r2, callback\nmov %r3, %r10\nadd %r3, -8\nmov %r4, 0
${helper('user_ringbuf_drain')}\nmov %r6, %r0\nldxdw %r0, [%r10-8]\nlsh %r0, 8\nor %r0, %r6`;
  const object = instantiate(sample(text, { maps, callback }));
  for (const value of [5, 6]) object.maps.input.put(Uint8Array.of(value, 0, 0, 0));
  assert.equal(object.programs.probe.run({ packet }).action, (11 << 8) | 2);
});

test('storage belongs to the thing that it is asked for', () => {
  const maps = [mapOf('counts', 'task_storage')];
  const text = `${helper('get_current_task_btf')}\nmov %r2, %r0\nlddw %r1, counts\nmov %r3, 0\nmov %r4, 1\n${helper('task_storage_get')}
jeq %r0, 0, out\nldxdw %r1, [%r0]\nadd %r1, 1\nstxdw [%r0], %r1\nmov %r0, %r1\nout: mov %r1, 0`;
  const tasks = [new Uint8Array(8), new Uint8Array(8)];
  let current = 0;
  const world: World = {
    get task() {
      return { memory: tasks[current] };
    },
  };
  const { probe } = instantiate(sample(text, { type: 'raw_tracepoint', maps }), { world }).programs;
  const answers = [0, 0, 1, 0].map((task) => {
    current = task;
    return probe.run({ arguments: [] }).action;
  });
  assert.deepEqual(answers, [1, 2, 1, 3]);
});

test('the task, routes and sockets are what the test says', () => {
  const world: World = {
    task: { pid: 5, threadId: 6, uid: 7, gid: 8, comm: 'a long name of a program' },
    route: ({ parameters }) => {
      parameters[8] = 42;
      return 0;
    },
  };
  assert.equal(inVm(sample(helper('get_current_pid_tgid')), world).action, 6);
  assert.equal(inVm(sample(`${helper('get_current_pid_tgid')}\nrsh %r0, 32`), world).action, 5);
  const name = `stdw [%r10-8], 0\nstdw [%r10-16], 0\nmov %r1, %r10\nadd %r1, -16\nmov %r2, 16
${helper('get_current_comm')}\nldxb %r0, [%r10-2]`;
  assert.equal(inVm(sample(name), world).action, ' '.charCodeAt(0), 'the fifteenth character');
  const zero = Array.from({ length: 8 }, (_, index) => `stdw [%r10-${(index + 1) * 8}], 0`).join('\n');
  const route = `mov %r6, %r1\n${zero}\nmov %r1, %r6\nmov %r2, %r10\nadd %r2, -64\nmov %r3, 64\nmov %r4, 0\n${helper('fib_lookup')}
mov %r1, %r0\nldxb %r0, [%r10-56]\nadd %r0, %r1`;
  assert.equal(inVm(sample(route), world).action, 42);
  assert.equal(inVm(sample(route)).action, 4, 'without an answer a packet is not forwarded');
});

test('a lock that is held is not taken again', () => {
  const maps = [mapOf('numbers', 'array', { maxEntries: 1 })];
  const find = `stw [%r10-4], 0\nlddw %r1, numbers\nmov %r2, %r10\nadd %r2, -4
${helper('map_lookup_elem')}\njeq %r0, 0, out\nmov %r6, %r0\n`;
  const lock = `mov %r1, %r6\n${helper('spin_lock')}\n`;
  const text = `${find}${lock}${lock}out: mov %r0, 0`;
  assert.throws(() => inVm(sample(text, { maps })), /takes a lock that it holds already/);
  const kept = `${find}${lock}out: mov %r0, 0`;
  assert.throws(() => inVm(sample(kept, { maps })), /ends while it holds a lock/);
  const given = `${find}${lock}mov %r1, %r6\n${helper('spin_unlock')}\nout: mov %r0, 5`;
  assert.equal(inVm(sample(given, { maps })).action, 5);
});
