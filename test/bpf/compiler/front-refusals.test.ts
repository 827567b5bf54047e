/**
 * What the compiler refuses, by name, at its place, and with what to write instead. Line 1 of each module is its import.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { compileText } from '../../../src/bpf/compiler/compile.ts';
import { CompileErrors } from '../../../src/bpf/compiler/diagnostics.ts';
import { moduleOf, refusals } from '../../support/bpf-compiler.ts';

const inMain = (...lines: readonly string[]): string[] =>
  refusals(`export const main = xdp((context) => {\n${lines.join('\n')}\nreturn XDP_PASS;\n});`);

test('a pointer that may be null must be tested', () => {
  const entries = 'export const entries = hash({ key: u32, value: u64, maxEntries: 8 });\n';
  const program = (body: string): string[] =>
    refusals(`${entries}export const main = xdp((context) => {\n${body}\n});`);
  const advice = (name: string): string => `${name} may be null; test it before: if (${name} === null) return …`;
  assert.deepEqual(program('const hits = entries.lookup(1);\nhits.value += 1n;\nreturn XDP_PASS;'), [
    `5:1 ${advice('hits')}`,
  ]);
  assert.deepEqual(program('const ip = packet(context, Ipv4, 14);\nreturn ip.protocol;'), [`5:8 ${advice('ip')}`]);
  assert.deepEqual(program('const ip = packet(context, Ipv4, 14);\nif (ip === null) return ip.protocol;\nreturn 1;'), [
    '5:25 ip is null here',
  ]);
  assert.deepEqual(program('return entries.lookup(1).value === 1n ? XDP_PASS : XDP_DROP;'), [
    '4:8 this may be null; put it into a const and test that: if (found === null) return …',
  ]);
  const loop =
    'let p = entries.lookup(1);\nif (p === null) return 0;\nfor (const i of range(3)) { p.value += 1n; p = entries.lookup(i); }\nreturn 1;';
  assert.deepEqual(program(loop), [`6:29 ${advice('p')}`]);
  const either =
    'const p = entries.lookup(1);\nif (p !== null || context.ingress_ifindex === 1) p.value = 1n;\nreturn 1;';
  assert.deepEqual(program(either), [`5:50 ${advice('p')}`]);
});

test('a pointer into the packet is void once the packet was moved', () => {
  const found = inMain(
    'const ethernet = packet(context, Ethernet, 0);',
    'if (ethernet === null) return XDP_DROP;',
    'bpf_xdp_adjust_head(context, -14);',
    'ethernet.protocol = 5;',
  );
  assert.deepEqual(found, [
    '6:1 ethernet points into the packet as it was before a helper moved it; ask packet() again',
  ]);
});

test('several problems are reported in one run, each at its place', () => {
  const found = inMain('const a = { x: 1 };', 'const b = 1.5;', 'const c = a == b;', 'var d = 1;', 'try { } catch { }');
  assert.deepEqual(found, [
    '3:11 the type of this literal is not known; write local(Type, {…}), or pass it where a type is expected',
    '4:11 fractions are not supported in the kernel; count in smaller units',
    '5:11 “==” is not supported; write ===',
    '6:1 “var” is not supported; write const or let',
    '7:1 “try” is not supported in a function; nothing throws in the kernel: test what is returned',
  ]);
});

const TABLE = 'write readOnly(array(u32, 2), […]) at the top of the module, and index its .value';

const statements: readonly (readonly [source: string, refusal: string])[] = [
  ['const a = new Map();', '3:11 “new” is not supported; local(Type) makes one on the stack'],
  ['const a = Math.max(1, 2);', '3:11 Math is not declared; JavaScript’s own objects do not exist in the kernel'],
  ['const a = undefined;', '3:11 undefined is not supported; write null'],
  ['for (const k in context) {}', '3:1 for…in is not supported in a function; write for (const i of range(n))'],
  ['const a = 2 ** 3;', '3:11 “**” is not supported; multiply'],
  // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the source of a program
  ['const a = `x${1}`;', '3:11 a template is not supported; print(`…`) takes one'],
  ['const a = /x/;', '3:11 a regular expression is not supported; compare the bytes'],
  ['const a = typeof context;', '3:11 “typeof” is not supported; types are known when compiling'],
  ['const a = 5_000_000_000;', '3:11 5000000000 does not fit 32 bits; write a 64-bit number: 5000000000n'],
  ['const a = nothing;', '3:11 nothing is not declared; import or declare it'],
  ['const a = context as u32;', '3:11 “as” does not convert a value; convert with the type itself: u32(x)'],
  ['const a = context!;', '3:11 ! does not test for null; test it: if (x === null) return …'],
  ['throw 1;', '3:1 “throw” is not supported in a function; return an error code'],
  ['class A {}', '3:1 a class is not supported in a function; use struct({…}) and functions'],
  ['const a = (b, 1);', '3:12 the comma operator is not supported; write two statements'],
  ['context.data = 1;', '3:1 context.data cannot be written; the kernel lets programs only read it'],
  ['const a = Ethernet.nothing;', '3:11 the type Ethernet has no nothing; a type has size'],
  ['const a = 1; a = 2;', '3:14 a is a constant; use a variable of its own: let x = …'],
  ['const a = local(Ethernet) + 1;', '3:11 Ethernet is no number; arithmetic is for numbers'],
  [
    'const f = (z: u32) => z;',
    '3:11 a function within a function is not supported; declare it at the top of the module, or pass it to a helper directly',
  ],
  ['const a = local(array(u8, 4)); a[0] = 1;', '3:32 a Reference to array(u8, 4) has no elements; write a.value[…]'],
  [
    'const [a, b] = [1, 2]; const c = a;',
    '3:7 this form of destructuring is not supported; declare one name at a time',
  ],
  ['bpf_strncmp(local(array(u8, 4)), 4, 16);', '3:37 bpf_strncmp takes no more arguments; it takes text, constant'],
  ['bpf_strncmp(local(array(u8, 4)), 4);', "3:34 the number 4 is no text; write it out: 'text'"],
  ['let a; a = 5; a += 1;', '3:5 the type of a is not known; write let a: u32, or give it a value'],
  [
    'const a = [1, 2]; const b = a[context.rx_queue_index];',
    `3:29 a list of the source has no elements when the program runs; ${TABLE}`,
  ],
  ['const a = [1, 2]; const b = a[2];', '3:31 2 is outside of this list; it has 2 elements'],
  ['const a = Number(5n);', '3:11 Number is not declared; u32(x) converts to a number'],
  ['return 7;', '3:1 7 is no verdict of xdp programs; they return 0, 1, 2, 3, 4'],
];

for (const [source, refusal] of statements) {
  test(`refused: ${source}`, () => assert.deepEqual(inMain(source), [refusal]));
}

test('what stands at the top of a module is declarations', () => {
  const found = refusals(
    ['class A {}', 'let x = 1;', 'export default 5;', 'console.log(1);', "import fs from 'node:fs';"].join('\n'),
  );
  assert.deepEqual(found, [
    '2:1 classes are not supported; use struct({…}) for data and functions for what is done with it',
    '3:1 “let” at the top of a module is not supported; write const, or global(u32, 0) for a variable',
    '4:1 a default export is not supported; give it a name: export const name = …',
    '5:1 a statement at the top of a module is not supported; a module holds declarations only',
    '6:16 node:fs does not run in the kernel; import from millrace/bpf or from another *.bpf.ts',
  ]);
});

test('what a declaration lacks, and what is no type', () => {
  const found = refusals(
    [
      'const A = struct({ n: number });',
      'const B = struct({ n: string });',
      'export const m = hash({ key: u32, value: u32 });',
    ].join('\n'),
  );
  assert.deepEqual(found, [
    '2:23 number is not declared; say how wide it is: u8, u16, u32, or i32',
    '3:23 string is not declared; write array(u8, 16)',
    '4:18 hash needs maxEntries; write maxEntries: 1024',
  ]);
});

test('what the kernel would answer with EINVAL alone', () => {
  const maps = [
    'hash({ key: u32, value: u32, maxEntries: 0 })',
    'ringBuffer({ maxEntries: 5000 })',
    'userRingBuffer({ maxEntries: 64 })',
    'lpmTrie({ key: u32, value: u32, maxEntries: 1 })',
    'stackTrace({ value: array(u8, 12), maxEntries: 1 })',
    'array({ value: array(array(u64, 0x10000000), 4), maxEntries: 1 })',
  ];
  const found = refusals(maps.map((map, index) => `export const m${index} = ${map};`).join('\n'));
  assert.deepEqual(found, [
    '2:60 a map has at least 1 entry; user space may ask for another number when it loads the program',
    '3:44 5000 is no size of a ring buffer; it is in bytes, a power of two, 4096 or more: 65_536',
    '4:48 64 is no size of a ring buffer; it is in bytes, a power of two, 4096 or more: 65_536',
    '5:19 this is no key of an lpmTrie; write key: struct({ prefixLength: u32, address: be32 })',
    '6:19 a stack is an array of addresses; write value: array(u64, 32)',
    '7:51 this array takes more than 2147483647 bytes; make it shorter',
  ]);
  const bodies = ['bpf_loop(3, () => 2, null);', 'const b = local(array(u8, 4)); bpf_get_current_comm(slice(b, 5));'];
  assert.deepEqual(inMain(...bodies), [
    '3:19 2 is no answer of a callback; return 0 to go on, 1 to stop',
    '4:62 a Reference to array(u8, 4) has 4 bytes, not 5; take fewer of them',
  ]);
});

test('what a function cannot take, and what was refused once', () => {
  const found = refusals(
    [
      'let count = 5;',
      'const nested = { a: { b: 1 } };',
      'function one(n?: u32) { return 1; }',
      'function two(...all: u32[]) { return 1; }',
      'export const main = xdp(() => one() + two(1) + count);',
    ].join('\n'),
  );
  assert.deepEqual(found, [
    '2:1 “let” at the top of a module is not supported; write const, or global(u32, 0) for a variable',
    '3:21 constants within constants are not supported; declare it as a const of its own',
    '4:14 “?” is not supported; give the parameter a default: n: u32 = 0',
  ]);
});

test('constants cannot need each other', () => {
  assert.deepEqual(refusals('const a = b + 1;\nconst b = a + 1;\nexport const main = xdp(() => a);'), [
    '3:11 a is declared by means of itself; declare what it needs before it, or use a function',
  ]);
});

test('a name that was refused is not reported again where it is used', () => {
  assert.deepEqual(inMain('const a = 1.5;', 'const b = a + 1;', 'let c = b;', 'c += a;'), [
    '3:11 fractions are not supported in the kernel; count in smaller units',
  ]);
});

test('the message shows the line and the place in it', () => {
  const text = "import { xdp } from 'millrace/bpf';\nexport const main = xdp(() => {\n\treturn nothing;\n});\n";
  assert.throws(
    () => compileText(text, 'drop.bpf.ts'),
    (error) =>
      error instanceof CompileErrors &&
      error.message ===
        'drop.bpf.ts:3:9: nothing is not declared; import or declare it\n  \treturn nothing;\n  \t       ^',
  );
});

test('a syntax error is an error like the others', () => {
  assert.throws(
    () => compileText('export const main = xdp(( => 1);', 'a.bpf.ts'),
    (error) => error instanceof CompileErrors && /^a\.bpf\.ts:1:27: Unexpected token/.test(error.message),
  );
});

test('a program for GPL-compatible licences only says so', () => {
  const found = refusals(
    "license('MIT');\nexport const main = xdp(() => {\nprint(`x`);\nbpf_trace_printk('x');\nreturn XDP_PASS;\n});",
  );
  assert.deepEqual(found, [
    '4:1 bpf_trace_printk is for GPL-compatible programs only; the licence here is MIT',
    '5:1 bpf_trace_printk is for GPL-compatible programs only; the licence here is MIT',
  ]);
});

test('functions that call themselves, take too much, or capture are refused', () => {
  assert.deepEqual(refusals('function f(n: u32): u32 { return f(n - 1); }\nexport const main = xdp(() => f(3));'), [
    '2:34 f calls itself, and the kernel’s stack is small; write a loop',
  ]);
  const six = [
    'const f = subprogram((a: u32, b: u32, c: u32, d: u32, e: u32, g: u32): u32 => a + g);',
    'export const main = xdp((x) => {',
    'const r = x.ingress_ifindex;',
    'return f(r, r, r, r, r, r);',
    '});',
  ].join('\n');
  assert.deepEqual(refusals(six), ['5:8 f has 6 arguments, 5 fit the registers; pass some of them in a struct']);
  const captures = [
    'const S = struct({ a: u32 });',
    'export const main = xdp((x) => {',
    'const limit = x.ingress_ifindex;',
    'const s = local(S);',
    'bpf_loop(3, (i, st) => { st.a += limit; return 0; }, s);',
    'return XDP_PASS;',
    '});',
  ].join('\n');
  assert.deepEqual(refusals(captures), [
    '6:34 limit belongs to the function around this callback; pass it in the object that the callback is given',
  ]);
});

test('maps say what they lack and what they have', () => {
  const found = refusals(
    [
      'export const a = hash({ key: u32, maxEntries: 1 });',
      'export const b = hash({ key: u32, value: u32, maxEntries: 1, size: 5 });',
      'export const c = array({ key: u64, value: u32, maxEntries: 1 });',
      'export const d = array({ value: u32, maxEntries: 1 });',
      'export const main = xdp(() => { d.lookup(); d.push(1); d.update(local(Ethernet), 1); return XDP_PASS; });',
    ].join('\n'),
  );
  assert.deepEqual(found, [
    '2:18 hash needs a value; write value: u64',
    '3:68 hash has no option size; it has key, value, maxEntries, flags, pin, numaNode, values, hashes, address',
    '4:31 the key of array maps is u32',
    '6:33 bpf_map_lookup_elem needs key; it takes key',
    '6:45 array maps have no push; they have lookup, update, forEach',
    '6:65 Ethernet is passed where u32 is wanted',
  ]);
});

test('what is larger than any stack is refused where it is made', () => {
  assert.deepEqual(inMain('const a = local(array(u8, 600));'), [
    '3:11 array(u8, 600) takes 600 bytes, and the stack has 512; keep large values in a map, such as perCpuArray',
  ]);
});

test('a stack that is too large is refused where the function begins', () => {
  const text = moduleOf(`export const main = xdp(() => {
  const a = local(Large);
  const b = local(Large);
  return a.n[3] + b.n[3];
});
const Large = struct({ n: array(u8, 304) });`);
  assert.throws(
    () => compileText(text, 'large.bpf.ts', { optimise: false }),
    (error) =>
      error instanceof CompileErrors &&
      error.message.startsWith(
        'large.bpf.ts:2:25: main needs 608 bytes of stack; 512 are allowed; keep large values in a map',
      ),
  );
});
