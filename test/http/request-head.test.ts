/**
 * Request heads: what is taken, what is refused and with which status, and when a head is incomplete.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FIELD_ACCEPT } from '../../src/http/field-names.ts';
import {
  FORM_ABSOLUTE,
  FORM_ASTERISK,
  FORM_AUTHORITY,
  FORM_ORIGIN,
  lineEndsIn,
  RequestHead,
} from '../../src/http/head.ts';
import { isIdempotent, isSafe, METHOD_NAMES, METHOD_OTHER } from '../../src/http/methods.ts';
import { limits } from '../support/wire-simulation.ts';

const head = new RequestHead();

/** Parses at an odd offset with a foreign octet behind, as in an arena. */
function parse(source: string, headLimits = limits): number {
  const bytes = Buffer.from(`\n\n\n${source}\n`, 'latin1');
  const result = head.parse(bytes, 3, bytes.length - 1, headLimits);
  return result > 0 ? result - 3 : result;
}

function request(line: string, ...fields: string[]): string {
  return `${[line, ...fields].join('\r\n')}\r\n\r\n`;
}

test('a head is read into method, target, version and fields', () => {
  const source = request('GET /a/b?c=d HTTP/1.1', 'Host: example.test:80', 'Accept: */*');
  assert.equal(parse(source), source.length);
  assert.equal(head.methodName, 'GET');
  assert.equal(head.target, '/a/b?c=d');
  assert.equal(head.path, '/a/b');
  assert.equal(head.query, 'c=d');
  assert.equal(head.form, FORM_ORIGIN);
  assert.equal(head.authority, 'example.test:80');
  assert.equal(head.versionMinor, 1);
  assert.equal(head.field('accept'), '*/*');
  assert.equal(head.fields.indexOf(FIELD_ACCEPT), 1);
  assert.equal(head.hasBody, false);
  assert.equal(head.keepAlive, true);
});

test('every standard method has its number and any other token is a method too', () => {
  for (let method = 1; method < METHOD_NAMES.length; method++) {
    const name = METHOD_NAMES[method];
    const target = name === 'CONNECT' ? 'example.test:443' : '/';
    assert.ok(parse(request(`${name} ${target} HTTP/1.1`, 'Host: a')) > 0, name);
    assert.equal(head.method, method);
    assert.equal(head.methodName, name);
    assert.equal(isIdempotent(method), !['POST', 'PATCH', 'CONNECT'].includes(name));
    assert.equal(isSafe(method), ['GET', 'HEAD', 'OPTIONS', 'TRACE'].includes(name));
  }
  for (const name of ['get', 'GE', 'GETT', 'G', 'PROPFIND', "!#$%&'*+-.^_`|~"]) {
    assert.ok(parse(request(`${name} / HTTP/1.1`, 'Host: a')) > 0, name);
    assert.equal(head.method, METHOD_OTHER);
    assert.equal(head.methodName, name);
  }
});

test('each form of target gives path, query and authority', () => {
  const cases: [line: string, form: number, path: string, query: string, authority: string][] = [
    ['GET / HTTP/1.1', FORM_ORIGIN, '/', '', 'a.test'],
    ['GET /? HTTP/1.1', FORM_ORIGIN, '/', '', 'a.test'],
    ['GET /x?y?z HTTP/1.1', FORM_ORIGIN, '/x', 'y?z', 'a.test'],
    ['GET /x?100% HTTP/1.1', FORM_ORIGIN, '/x', '100%', 'a.test'],
    ['GET http://b.test HTTP/1.1', FORM_ABSOLUTE, '/', '', 'b.test'],
    ['GET HTTP://b.test:81?q HTTP/1.1', FORM_ABSOLUTE, '/', 'q', 'b.test:81'],
    ['GET https://[::1]:8/x/y?q=/ HTTP/1.1', FORM_ABSOLUTE, '/x/y', 'q=/', '[::1]:8'],
    ['CONNECT b.test:443 HTTP/1.1', FORM_AUTHORITY, '/', '', 'b.test:443'],
    ['OPTIONS * HTTP/1.1', FORM_ASTERISK, '*', '', 'a.test'],
  ];
  for (const [line, form, path, query, authority] of cases) {
    assert.ok(parse(request(line, 'Host: a.test')) > 0, line);
    assert.deepEqual([head.form, head.path, head.query, head.authority], [form, path, query, authority], line);
  }
});

test('an HTTP/1.0 request without Host has no authority', () => {
  assert.ok(parse(request('GET / HTTP/1.0')) > 0);
  assert.equal(head.authority, '');
  assert.equal(head.versionMinor, 0);
  assert.equal(head.keepAlive, false);
});

test('a target of no form is refused', () => {
  for (const line of [
    'GET *',
    'OPTIONS *x',
    'GET a.test:80',
    'GET ftp://a.test/',
    'GET http:/a.test/',
    'GET http:///x',
    'GET http://u@a.test/',
    'GET /%',
    'GET /%a',
    'GET /%ag',
    'GET /#x',
    'CONNECT /',
    'CONNECT a.test',
    'CONNECT a.test:',
    'CONNECT a.test:65536',
  ]) {
    assert.equal(parse(request(`${line} HTTP/1.1`, 'Host: a.test')), -400, line);
  }
});

test('Host takes names, IPv4, IPv6 and ports, and nothing else', () => {
  for (const host of [
    'a',
    'a.b-c_d~e',
    '1.2.3.4:5',
    'a:',
    '%41b',
    '[::]',
    '[1:2:3:4:5:6:7:8]',
    '[::ffff:1.2.3.4]:1',
    '[1::8]',
  ]) {
    assert.ok(parse(request('GET / HTTP/1.1', `Host: ${host}`)) > 0, host);
  }
  for (const host of [
    '',
    ':80',
    'a b',
    'a/b',
    'a@b',
    '%4',
    '%zz',
    'a:b',
    'a:1:2',
    'a:65536',
    '[',
    '[]',
    '[:]',
    '[1::2::3]',
    '[1:2:3:4:5:6:7]',
    '[1:2:3:4:5:6:7:8:9]',
    '[12345::]',
    '[::1.2.3]',
    '[::1.2.3.256]',
    '[::01.2.3.4]',
    '[1:2:3:4:5:6:7:1.2.3.4]',
    '[::1%25eth0]',
    '[1:]',
  ]) {
    assert.equal(parse(request('GET / HTTP/1.1', `Host: ${host}`)), -400, host);
  }
});

test('the version decides between 400, 505 and reading on', () => {
  assert.ok(parse(request('GET / HTTP/1.7', 'Host: a')) > 0);
  assert.equal(parse(request('GET / HTTP/2.0', 'Host: a')), -505);
  assert.equal(parse(request('GET / HTTP/0.9', 'Host: a')), -505);
  assert.equal(parse(request('PRI * HTTP/2.0')), -505);
  assert.equal(parse(request('GET / http/1.1', 'Host: a')), -400);
});

test('the framing of the body comes from the fields, strictly', () => {
  const body = (...fields: string[]) => parse(request('POST / HTTP/1.1', 'Host: a', ...fields));
  assert.ok(body('Content-Length: 00012') > 0);
  assert.equal(head.contentLength, 12);
  assert.ok(body('Content-Length: 9007199254740991') > 0);
  assert.equal(head.contentLength, Number.MAX_SAFE_INTEGER);
  assert.ok(body('Transfer-Encoding: Chunked') > 0);
  assert.deepEqual([head.contentLength, head.chunked, head.hasBody], [-1, true, true]);
  assert.ok(body() > 0);
  assert.deepEqual([head.contentLength, head.chunked, head.hasBody], [-1, false, false]);

  assert.equal(body('Content-Length: 9007199254740993'), -413);
  assert.equal(body('Content-Length: 5', 'Content-Length: 5'), -400);
  assert.equal(body('Content-Length: 5, 5'), -400);
  assert.equal(body('Content-Length: 5', 'Transfer-Encoding: chunked'), -400);
  assert.equal(body('Transfer-Encoding: gzip, chunked'), -501);
  assert.equal(body('Transfer-Encoding: gzip', 'Transfer-Encoding: chunked'), -501);
  assert.equal(body('Transfer-Encoding: gzip'), -400);
  assert.equal(body('Transfer-Encoding: chunked, gzip'), -400);
  assert.equal(body('Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'), -400);
  assert.equal(body('Transfer-Encoding: identity, chunked'), -400);
  assert.equal(body('Transfer-Encoding:'), -400);
  assert.equal(parse(request('POST / HTTP/1.0', 'Transfer-Encoding: chunked')), -400);
});

test('Connection, Upgrade and Expect are understood by version', () => {
  const ask = (version: string, ...fields: string[]) => {
    assert.ok(parse(request(`POST / HTTP/${version}`, 'Host: a', ...fields)) > 0);
    return [head.keepAlive, head.upgrade, head.expectContinue];
  };
  assert.deepEqual(ask('1.1', 'Connection: a, CLOSE'), [false, false, false]);
  assert.deepEqual(ask('1.0', 'Connection: Keep-Alive'), [true, false, false]);
  assert.deepEqual(ask('1.0', 'Connection: Keep-Alive', 'Connection: close'), [false, false, false]);
  assert.deepEqual(ask('1.1', 'Connection: Upgrade', 'Upgrade: websocket'), [true, true, false]);
  assert.deepEqual(ask('1.1', 'Upgrade: websocket'), [true, false, false]);
  assert.deepEqual(ask('1.0', 'Connection: Upgrade', 'Upgrade: websocket'), [false, false, false]);
  assert.deepEqual(ask('1.1', 'Expect: 100-Continue', 'Content-Length: 1'), [true, false, true]);
  assert.deepEqual(ask('1.1', 'Expect: 100-continue', 'Content-Length: 0'), [true, false, false]);
  assert.deepEqual(ask('1.0', 'Expect: 100-continue', 'Content-Length: 1'), [false, false, false]);
});

test('a head over the limit is 431, or 414 while its target lasts', () => {
  const small = { headSize: 64, headerCount: 2 };
  const exact = request('GET / HTTP/1.1', `Host: ${'a'.repeat(64 - 26)}`);
  assert.equal(exact.length, 64);
  assert.equal(parse(exact, small), 64);
  assert.equal(parse(request('GET / HTTP/1.1', `Host: ${'a'.repeat(64 - 25)}`), small), -431);
  assert.equal(parse(`GET /${'a'.repeat(60)}`, small), -414);
  assert.equal(parse(`GET /${'a'.repeat(54)}`, small), 0);
  assert.equal(parse('A'.repeat(64), small), -431);
  assert.equal(parse('\r\n'.repeat(32), small), -431);
  assert.equal(parse(request('GET / HTTP/1.1', 'Host: a', 'X: 1', 'Y: 2'), small), -431);
  // What is refused for another reason within the limit keeps that reason although more than the limit has come.
  assert.equal(parse(`GET / HTTP/1.1\r\nBad Name: ${'a'.repeat(100)}`, small), -400);
});

test('every proper beginning of a head is incomplete', () => {
  const source = request('POST http://a.test:80/%20?x=%zz HTTP/1.1', 'Host: a', 'Content-Length: 5', 'X-A: \tb ');
  for (let length = 0; length < source.length; length++) assert.equal(parse(source.slice(0, length)), 0, `${length}`);
  assert.equal(parse(source), source.length);
});

test('a wrong octet is refused when it comes, not when the line ends', () => {
  for (const start of [
    '\x16\x03\x01',
    ' G',
    'G\0',
    'GET  ',
    'GET /\0',
    'GET /%g',
    'GET / X',
    'GET / HTP',
    'GET / HTTP/1,',
    'GET / HTTP/1.1\n',
    'GET / HTTP/1.10',
    'GET /\r',
    '\n',
    '\rG',
  ]) {
    assert.equal(parse(start), -400, JSON.stringify(start));
  }
});

test('empty lines before the request line are skipped', () => {
  const source = request('\r\n\r\nGET / HTTP/1.1', 'Host: a');
  assert.equal(parse(source), source.length);
  assert.equal(head.methodName, 'GET');
  assert.equal(parse('\r\n'), 0);
});

test('parsing again pays only where a line ended', () => {
  const bytes = Buffer.from('GET / HTTP/1.1\r\nHost');
  assert.equal(lineEndsIn(bytes, 0, bytes.length), true);
  assert.equal(lineEndsIn(bytes, 16, bytes.length), false);
  assert.equal(lineEndsIn(bytes, 0, 15), false);
});
