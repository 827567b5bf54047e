/**
 * What a configuration file may say, what it becomes, and how each mistake is told: with its line, its field, the value found
 * and what is allowed.
 */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after } from 'node:test';
import type { Configuration } from '../../src/gateway/configuration.ts';
import { ConfigurationError, type Problem } from '../../src/gateway/problems.ts';
import { parseConfiguration, readConfiguration } from '../../src/gateway/read.ts';
import { listFields } from '../../src/gateway/schema.ts';
import { projectRoot } from '../support/sources.ts';

const folder = mkdtempSync(join(tmpdir(), 'millrace-configuration-'));
mkdirSync(join(folder, 'public'));
after(() => rmSync(folder, { recursive: true }));

const guide = readFileSync(join(projectRoot, 'docs/guides/up.md'), 'utf8');
const examples = [...guide.matchAll(/```yaml\n(# millrace\.yaml[\s\S]*?)```/g)].map((match) => match[1]);

const parse = (text: string): Configuration => parseConfiguration(text, join(folder, 'millrace.yaml'));

function problemsOf(text: string): readonly Problem[] {
  try {
    parse(text);
  } catch (error) {
    assert.ok(error instanceof ConfigurationError, String(error));
    return error.problems;
  }
  return assert.fail('the configuration was accepted');
}

/** `line:column field message`, one for each problem. */
const told = (text: string): string[] =>
  problemsOf(text).map(({ line, column, field, message }) => `${line}:${column} ${field} ${message}`);

function expectTold(text: string, ...expected: readonly (readonly [string, RegExp])[]): void {
  const lines = told(text);
  assert.equal(lines.length, expected.length, lines.join('\n'));
  for (const [index, [place, message]] of expected.entries()) {
    assert.ok(lines[index].startsWith(`${place} `), `${lines[index]} is not at ${place}`);
    assert.match(lines[index], message);
  }
}

/** A file whose only route is in flow form on line 4, from column 9 on. */
const route = (text: string): string => `listeners:\n  - address: 127.0.0.1:8080\n    routes:\n      - ${text}\n`;
const WHOLE = route('{ path: /, respond: {} }');

test('the example of the guide becomes bytes, milliseconds, absolute paths and addresses', () => {
  const configuration = parse(examples[0]);
  assert.deepEqual(configuration.limits, {
    headSize: 16384,
    headerCount: 100,
    bodySize: 10 * 1024 * 1024,
    headTimeoutMs: 10_000,
    bodyTimeoutMs: 60_000,
    idleTimeoutMs: 75_000,
    connections: 100_000,
  });
  assert.deepEqual(configuration.accessLog, { file: join(folder, 'access.log'), format: 'json' });
  assert.deepEqual(configuration.admin?.socket, { family: 'ipv4', address: '127.0.0.1', port: 9100 });
  const [hello, assets, api] = configuration.listeners[0].routes.map(({ action }) => action);
  assert.deepEqual(hello, { kind: 'respond', status: 200, headers: { 'content-type': 'text/plain' }, body: 'hello' });
  assert.ok(assets.kind === 'files' && assets.root === join(folder, 'public'));
  assert.ok(api.kind === 'proxy');
  assert.deepEqual(
    api.upstreams.map(({ address, weight }) => [address.text, weight]),
    [
      ['127.0.0.1:9001', 1],
      ['127.0.0.1:9002', 2],
    ],
  );
  assert.equal(api.balance, 'leastConnections');
  assert.deepEqual(api.healthCheck, {
    path: '/healthz',
    intervalMs: 2000,
    timeoutMs: 2000,
    unhealthyAfter: 3,
    healthyAfter: 2,
  });
});

test('the example of the guide is the one that the design shows', (context) => {
  let design: string;
  try {
    design = readFileSync(join(projectRoot, '../shared/DESIGN.md'), 'utf8');
  } catch {
    context.skip('../shared/DESIGN.md is not there');
    return;
  }
  assert.equal(examples[0], /```yaml\n(# millrace\.yaml[\s\S]*?)```/.exec(design)?.[1]);
});

test('every example of the guide is accepted', () => {
  assert.ok(examples.length >= 3);
  for (const example of examples) parse(example);
});

test('the guide has a row for every field, with its default', () => {
  const rows = new Map([...guide.matchAll(/^\| `([^`]+)` \|[^|]*\|([^|]*)\|/gm)].map((row) => [row[1], row[2].trim()]));
  for (const { name, default: value } of listFields()) {
    assert.ok(rows.has(name), `docs/guides/up.md has no row for ${name}`);
    if (value !== undefined) assert.equal(rows.get(name), value === '' ? "`''`" : `\`${value}\``, name);
  }
});

test('a file that says only what is needed gets every default', () => {
  const configuration = parse(WHOLE);
  assert.equal(configuration.engine, 'auto');
  assert.equal(configuration.workers, 1);
  assert.equal(configuration.admin, null);
  assert.equal(configuration.accessLog, null);
  assert.equal(configuration.drainTimeoutMs, 30_000);
  assert.equal(configuration.limits.headSize, 16384);
  const [listener] = configuration.listeners;
  assert.deepEqual([listener.protocol, listener.backlog, listener.reusePort], ['http', 4096, false]);
});

test('units are powers of 1,024 and of ten, and fractions may come out whole', () => {
  const { limits } = parse(
    `${WHOLE}limits: { headSize: 1.5KB, bodySize: 2GB, headTimeout: 1.5s, bodyTimeout: 2m, idleTimeout: 250ms }\n`,
  );
  assert.deepEqual([limits.headSize, limits.bodySize], [1536, 2 * 1024 ** 3]);
  assert.deepEqual([limits.headTimeoutMs, limits.bodyTimeoutMs, limits.idleTimeoutMs], [1500, 120_000, 250]);
});

test('all problems of a file are told at once, from top to bottom', () => {
  expectTold(
    `engin: auto\nworkers: 65\nlimits: { headSize: 16384, headTimeout: 10S }\n${route('{ path: hello, files: { root: ./publc } }')}`,
    ['1:1 engin', /did you mean engine\? .*listeners is allowed/],
    ['2:10 workers', /is 65: a whole number from 1 to 64 is allowed/],
    ['3:21 limits.headSize', /is 16384: the unit is missing; 1KB to 64KB/],
    ['3:41 limits.headTimeout', /is "10S": write the unit as s; 100ms to 60m/],
    ['7:17 listeners[0].routes[0].path', /is "hello": a path that begins with \//],
    ['7:39 listeners[0].routes[0].files.root', /is ".\/publc": there is no directory .*publc$/],
  );
});

const single: readonly (readonly [string, string, string, RegExp])[] = [
  ['a missing list', 'workers: 1\n', '1:1 listeners', /is missing: a list is allowed/],
  ['an empty list', 'listeners: []\n', '1:12 listeners', /at least one listener is needed/],
  ['an empty value', `${WHOLE}workers:\n`, '5:1 workers', /is empty: a whole number/],
  ['a fraction', `${WHOLE}workers: 1.5\n`, '5:10 workers', /is 1.5: a whole number/],
  ['a number in quotes', `${WHOLE}workers: "2"\n`, '5:10 workers', /is "2": a whole number/],
  [
    'a word that is none',
    `${WHOLE}engine: uring\n`,
    '5:9 engine',
    /is "uring": .*auto, io_uring, epoll, epoll-level, poll or select/,
  ],
  ['a size out of range', `${WHOLE}limits: { headSize: 2GB }\n`, '5:21 limits.headSize', /1KB to 64KB is allowed/],
  ['a time without its unit', `${WHOLE}drainTimeout: 5\n`, '5:15 drainTimeout', /is 5: the unit is missing/],
  ['a field given twice', `${WHOLE}workers: 1\nworkers: 1\n`, '6:1 workers', /is given twice/],
  ['an address without port', `${WHOLE}admin: 127.0.0.1\n`, '5:8 admin', /the port is missing/],
  ['a port beyond the last', `${WHOLE}admin: 127.0.0.1:65536\n`, '5:8 admin', /a port from 0 to 65535/],
  ['a name as address', `${WHOLE}admin: localhost:80\n`, '5:8 admin', /names are not looked up/],
  ['a Unix path too long', `${WHOLE}admin: unix:/${'x'.repeat(108)}\n`, '5:8 admin', /at most 107 are allowed/],
  ['the admin on a listener', `${WHOLE}admin: 127.0.0.1:8080\n`, '5:8 admin', /another listener has this address/],
  ['an address in brackets without quotes', `${WHOLE}admin: [::]:80\n`, '5:12 ', /needs quotes, as in/],
  ['a log without a folder', `${WHOLE}accessLog: { file: ./no/log }\n`, '5:20 accessLog.file', /is no directory/],
  ['a log that is a folder', `${WHOLE}accessLog: { file: ./public }\n`, '5:20 accessLog.file', /a file is needed/],
  ['a control character in a field', `${WHOLE}serverName: "a\\r\\nb"\n`, '5:13 serverName', /text of one line/],
  [
    'a status that ends nothing',
    route('{ path: /, respond: { status: 199 } }'),
    '4:39 listeners[0].routes[0].respond.status',
    /200 to 599/,
  ],
  [
    'a body for 204',
    route('{ path: /, respond: { status: 204, body: x } }'),
    '4:50 listeners[0].routes[0].respond.body',
    /status 204 has none/,
  ],
  [
    'a framing field',
    route('{ path: /, respond: { headers: { Content-Length: "5" } } }'),
    '4:42 listeners[0].routes[0].respond.headers.Content-Length',
    /writes this field itself/,
  ],
  [
    'a field named twice',
    route('{ path: /, respond: { headers: { a: x, A: y } } }'),
    '4:48 listeners[0].routes[0].respond.headers.A',
    /the same field as a/,
  ],
  [
    'a field of JavaScript’s own',
    route('{ path: /, respond: { headers: { __proto__: x } } }'),
    '4:42 listeners[0].routes[0].respond.headers.__proto__',
    /no name of a header field/,
  ],
  [
    'a header that is a number',
    route('{ path: /, respond: { headers: { a: 1 } } }'),
    '4:45 listeners[0].routes[0].respond.headers.a',
    /put it in quotes/,
  ],
  [
    'a route that does nothing',
    route('{ path: / }'),
    '4:9 listeners[0].routes[0]',
    /exactly one of respond, files or proxy/,
  ],
  [
    'a route that does two things',
    route('{ path: /, respond: {}, files: { root: public } }'),
    '4:33 listeners[0].routes[0].files',
    /beside respond: exactly one/,
  ],
  [
    'a route path with dot segments',
    route('{ path: /a/../b, respond: {} }'),
    '4:17 listeners[0].routes[0].path',
    /write "\/b"/,
  ],
  [
    'a route path with a query',
    route('{ path: "/a?b", respond: {} }'),
    '4:17 listeners[0].routes[0].path',
    /without query/,
  ],
  [
    'files at a path of its own',
    route('{ path: /a, files: { root: public } }'),
    '4:17 listeners[0].routes[0].path',
    /write "\/a\/"/,
  ],
  [
    'a root that is a file',
    route('{ path: /, files: { root: /etc/passwd } }'),
    '4:35 listeners[0].routes[0].files.root',
    /else than a directory/,
  ],
  [
    'a proxy without upstreams',
    route('{ path: /, proxy: { upstreams: [] } }'),
    '4:40 listeners[0].routes[0].proxy.upstreams',
    /at least one upstream/,
  ],
  [
    'a weight of nothing',
    route('{ path: /, proxy: { upstreams: [{ address: 127.0.0.1:1, weight: 0 }] } }'),
    '4:73 listeners[0].routes[0].proxy.upstreams[0].weight',
    /from 1 to 1000/,
  ],
  [
    'an upstream twice',
    route('{ path: /, proxy: { upstreams: [127.0.0.1:1, 127.0.0.1:1] } }'),
    '4:54 listeners[0].routes[0].proxy.upstreams[1]',
    /upstreams\[0\] is the same/,
  ],
  [
    'an upstream without a port',
    route('{ path: /, proxy: { upstreams: [127.0.0.1:0] } }'),
    '4:41 listeners[0].routes[0].proxy.upstreams[0]',
    /a port from 1/,
  ],
  [
    'a misspelt balance',
    route('{ path: /, proxy: { upstreams: [127.0.0.1:1], balance: leastConnection } }'),
    '4:64 listeners[0].routes[0].proxy.balance',
    /did you mean leastConnections\?/,
  ],
  [
    'a hash key without a hash',
    route('{ path: /, proxy: { upstreams: [127.0.0.1:1], hashKey: path } }'),
    '4:55 listeners[0].routes[0].proxy.hashKey',
    /only with balance: consistentHash/,
  ],
  [
    'a check longer than its interval',
    route('{ path: /, proxy: { upstreams: [127.0.0.1:1], healthCheck: { path: /, timeout: 3s } } }'),
    '4:88 listeners[0].routes[0].proxy.healthCheck.timeout',
    /at most the interval of 2s/,
  ],
];

for (const [name, text, place, message] of single) {
  test(`${name} is told with its place`, () => expectTold(text, [place, message]));
}

test('two routes with one path are told at the second', () => {
  expectTold(`${WHOLE}      - { path: /, respond: {} }\n`, [
    '5:17 listeners[0].routes[1].path',
    /routes\[0\] has this path/,
  ]);
});

const second = (address: string, more = ''): string =>
  `${WHOLE}  - { address: "${address}"${more}, routes: [{ path: /, respond: {} }] }\n`;

test('listeners whose addresses the kernel would refuse together are told', () => {
  for (const address of ['127.0.0.1:8080', '0.0.0.0:8080', '[::]:8080']) {
    expectTold(second(address), [
      '5:16 listeners[1].address',
      /another listener|overlaps with the listener on 127.0.0.1:8080/,
    ]);
  }
});

test('listeners whose addresses differ, or share on purpose, are accepted', () => {
  parse(second('127.0.0.1:8081'));
  parse(second('[::1]:8080'));
  parse(second('[::]:8080', ', ipv6Only: true'));
  parse(second('unix:@millrace'));
  parse(`${second('127.0.0.1:0')}  - { address: 127.0.0.1:0, routes: [{ path: /, respond: {} }] }\n`);
});

test('two spellings of one IPv6 address are one address', () => {
  const text = 'listeners:\n  - { address: "[::1]:80", routes: [{ path: /, respond: {} }] }\n';
  const other = '  - { address: "[0:0:0:0:0:0:0:1]:80", routes: [{ path: /, respond: {} }] }\n';
  expectTold(text + other, ['3:16 listeners[1].address', /another listener has this address/]);
});

test('values that come by an alias are told where they are used or stand', () => {
  const text =
    'limits: &x { headSize: 1B }\nlisteners:\n  - { address: 127.0.0.1:1, routes: [{ path: /, respond: {} }] }\n';
  expectTold(text, ['1:24 limits.headSize', /is "1B"/]);
  expectTold(`${WHOLE}workers: *none\n`, ['5:10 ', /names no anchor before it/]);
});

function problemsOfOctets(octets: Buffer): readonly Problem[] {
  const file = join(folder, 'hostile.yaml');
  writeFileSync(file, octets);
  assert.throws(() => readConfiguration(file), ConfigurationError);
  try {
    readConfiguration(file);
  } catch (error) {
    return (error as ConfigurationError).problems;
  }
  return [];
}

test('aliases of aliases are refused before they fill the memory', () => {
  let text = 'a: &a [x, x, x, x, x, x, x, x, x]\n';
  for (const [before, name] of ['ab', 'bc', 'cd', 'de', 'ef', 'fg', 'gh', 'hi', 'ij']) {
    text += `${name}: &${name} [${`*${before}, `.repeat(9)}]\n`;
  }
  expectTold(text, ['1:1 ', /aliases stand for more than 100 values/]);
});

test('a list that contains itself ends', () => {
  const lines = told('listeners: &self [{ address: 127.0.0.1:1, routes: *self }]\n');
  assert.ok(
    lines.some((line) => line.includes('listeners[0].routes[0].routes is no field here')),
    lines.join('\n'),
  );
});

test('what is no text is refused at its line', () => {
  const [latin] = problemsOfOctets(Buffer.from('engine: auto\nserverName: caf\xe9\n', 'latin1'));
  assert.equal(latin.line, 2);
  assert.match(latin.message, /not UTF-8/);
  const [wide] = problemsOfOctets(Buffer.from('\ufeffengine: auto\n', 'utf16le'));
  assert.match(wide.message, /not UTF-8/);
  const [binary] = problemsOfOctets(Buffer.from('engine: auto\n\u007fELF\u0000\n'));
  assert.deepEqual([binary.line, binary.column], [2, 1]);
  assert.match(binary.message, /control character U\+007F/);
});

test('a file that is too large, nested too deeply or not there is refused', () => {
  assert.match(problemsOfOctets(Buffer.alloc(1024 * 1024 + 1, '#'))[0].message, /larger than 1 MB/);
  assert.match(problemsOfOctets(Buffer.from('['.repeat(50_000)))[0].message, /nested too deeply/);
  assert.throws(() => readConfiguration('/dev/zero'), /larger than 1 MB/);
  assert.throws(
    () => readConfiguration(join(folder, 'none.yaml')),
    /none\.yaml:1:1: cannot be read: there is no such file/,
  );
  assert.throws(() => readConfiguration(folder), /this is a directory/);
});

test('what is no YAML of one plain document is told with its line', () => {
  expectTold('engine: auto\n\tworkers: 1\n', ['2:1 ', /indented with a tab/]);
  expectTold(`${WHOLE}---\nengine: auto\n`, ['5:1 ', /a second document/]);
  expectTold(`${WHOLE}serverName: !secret x\n`, ['5:13 ', /tags are not used/]);
  expectTold(`${WHOLE}? [a]\n: 1\n`, ['5:3 ', /the name of a field is not text/]);
  expectTold('', ['1:1 ', /is empty: a mapping/]);
  expectTold('- a\n', ['1:1 ', /is a list: a mapping/]);
});

test('what a file says cannot move the cursor of the terminal that shows its problems', () => {
  const red = '"\\e[31m"';
  const { message } = new ConfigurationError(problemsOf(`${red}: 1\nengine: ${red}\nadmin: ${red}\n${WHOLE}`));
  assert.equal(message.includes('\u001b'), false);
  assert.match(message, /\\u001b\[31m/);
});

test('names that every object has are fields like others', () => {
  expectTold(
    `__proto__: {}\nconstructor: 1\n${WHOLE}`,
    ['1:1 __proto__', /is no field/],
    ['2:1 constructor', /is no field/],
  );
});

test('lines may end as on Windows, and a byte order mark may come first', () => {
  const text = `\ufeff${WHOLE}workers: 0\n`.replaceAll('\n', '\r\n');
  const [problem] = problemsOfOctets(Buffer.from(text));
  assert.deepEqual([problem.line, problem.column, problem.field], [5, 10, 'workers']);
});

test('a long list of problems is cut, and the rest counted', () => {
  const text = Array.from({ length: 60 }, (_, index) => `unknown${index}: 1`).join('\n');
  assert.throws(
    () => parse(`${text}\n${WHOLE}`),
    (error: Error) => {
      const lines = error.message.split('\n');
      return lines.length === 51 && lines[50] === 'and 10 more';
    },
  );
});
