/**
 * Scripts of one line as programs: what is written from them, and what is refused with its place.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { compileText } from '../../src/bpf/compiler/compile.ts';
import { ScriptError, translate } from '../../src/observe/script.ts';
import { type EventFormat, parseFormat } from '../../src/observe/tracepoints.ts';

const FORMAT = `name: tcp_probe
ID: 1
format:
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;
	field:unsigned char common_flags;	offset:2;	size:1;	signed:0;
	field:unsigned char common_preempt_count;	offset:3;	size:1;	signed:0;
	field:int common_pid;	offset:4;	size:4;	signed:1;

	field:__u8 saddr[28];	offset:8;	size:28;	signed:0;
	field:__u16 sport;	offset:64;	size:2;	signed:0;
	field:__u64 sock_cookie;	offset:96;	size:8;	signed:0;
	field:char comm[16];	offset:104;	size:16;	signed:0;
	field:__data_loc char[] name;	offset:120;	size:4;	signed:0;
`;

const formatOf = (event: string): EventFormat => parseFormat(event, FORMAT);

test('an event’s fields have the kernel’s places and widths', () => {
  const { fields } = formatOf('tcp:tcp_probe');
  const field = (name: string) => fields.find((one) => one.name === name)!;
  assert.deepEqual(
    { ...field('saddr') },
    {
      name: 'saddr',
      declaration: '__u8 [28]',
      offset: 8,
      bytes: 28,
      signed: false,
      length: 28,
      text: false,
      dynamic: false,
    },
  );
  assert.equal(field('comm').text, true);
  assert.equal(field('name').dynamic, true);
  assert.equal(field('sport').signed, false);
  // What programs may not read is not offered.
  assert.equal(field('common_pid'), undefined);
});

for (const script of [
  "on('tcp:tcp_probe', (event) => count(event.sport))",
  "on('tcp:tcp_probe', (event) => count(event.saddr, event.sport, comm(), pid()))",
  "on('tcp:tcp_probe', () => count())",
  "on('tcp:tcp_probe', (event) => { if (event.sport === 443) histogram(event.sock_cookie); })",
  "on('tcp:tcp_probe', (event) => stacks())",
  "on('tcp:tcp_probe', () => start(tid())); on('tcp:tcp_done', () => histogram(elapsed(tid())));",
  "const PORT = 80; on('tcp:tcp_probe', (event) => { if (event.sport === PORT) count(event.sport, cpu()); })",
]) {
  test(`compiles: ${script}`, () => {
    const { source, collected } = translate(script, formatOf);
    const object = compileText(source);
    assert.ok(object.functions.some(({ kind }) => kind?.section.startsWith('tracepoint/tcp/')));
    for (const { map } of collected) assert.ok(object.maps.some(({ name }) => name === map));
  });
}

const refused: readonly (readonly [script: string, message: RegExp])[] = [
  ['', /watches nothing/],
  ['count(1)', /script:1:1: a script is made of on/],
  ["on('tcp:tcp_probe', (event) => count(event.nothing))", /script:1:38: tcp:tcp_probe has no field nothing: .*sport/],
  ["on('tcp:tcp_probe', (event) => count(event.name))", /lies outside of the event/],
  ["on('tcp:tcp_probe', (event) => histogram())", /histogram takes one number/],
  ["on('tcp:tcp_probe', (event) =>\n  histogram(elapsed()))", /script:2:13: elapsed takes the key/],
  ["on('tcp:tcp_probe', (event) => { const x = count(1); })", /count\(…\) gives nothing/],
  ["on('tcp:tcp_probe', () => stacks())", /stacks needs the event/],
  ['on(1, (event) => count())', /on takes an event’s name/],
  ["on('tcp:tcp_probe', (event) =>", /script:1:31: Unexpected token/],
];
for (const [script, message] of refused) {
  test(`refuses: ${JSON.stringify(script)}`, () => {
    assert.throws(
      () => translate(script, formatOf),
      (error) => error instanceof ScriptError && message.test(error.message),
    );
  });
}
