/**
 * Heads of an upstream's responses and the framing that follows from them.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { METHOD_CONNECT, METHOD_GET, METHOD_HEAD } from '../../src/http/methods.ts';
import {
  BAD_GATEWAY,
  BODY_CHUNKED,
  BODY_LENGTH,
  BODY_NONE,
  BODY_TUNNEL,
  BODY_UNTIL_CLOSE,
  ResponseHead,
} from '../../src/http/response-head.ts';
import { limits } from '../support/wire-simulation.ts';

const head = new ResponseHead();

function parse(source: string, method = METHOD_GET, upgradeAsked = false): number {
  const bytes = Buffer.from(`\n${source}\n`, 'latin1');
  const result = head.parse(bytes, 1, bytes.length - 1, limits, method, upgradeAsked);
  return result > 0 ? result - 1 : result;
}

function response(line: string, ...fields: string[]): string {
  return `${[line, ...fields].join('\r\n')}\r\n\r\n`;
}

test('a head is read into status, reason and fields', () => {
  const source = response('HTTP/1.1 404 Not Found', 'Server: x', 'Content-Length: 9');
  assert.equal(parse(source), source.length);
  assert.deepEqual([head.status, head.reason, head.versionMinor, head.field('server')], [404, 'Not Found', 1, 'x']);
  assert.deepEqual([head.body, head.contentLength, head.keepAlive], [BODY_LENGTH, 9, true]);
});

test('the body ends where RFC 9112 section 6.3 says', () => {
  const cases: [line: string, field: string, method: number, body: number][] = [
    ['HTTP/1.1 200 OK', 'Content-Length: 5', METHOD_GET, BODY_LENGTH],
    ['HTTP/1.1 200 OK', 'Content-Length: 0', METHOD_GET, BODY_NONE],
    ['HTTP/1.1 200 OK', 'Transfer-Encoding: chunked', METHOD_GET, BODY_CHUNKED],
    ['HTTP/1.1 200 OK', 'X: 1', METHOD_GET, BODY_UNTIL_CLOSE],
    ['HTTP/1.1 200 OK', 'Content-Length: 5', METHOD_HEAD, BODY_NONE],
    ['HTTP/1.1 200 OK', 'Transfer-Encoding: chunked', METHOD_HEAD, BODY_NONE],
    ['HTTP/1.1 204 No Content', 'X: 1', METHOD_GET, BODY_NONE],
    ['HTTP/1.1 304 Not Modified', 'Content-Length: 5', METHOD_GET, BODY_NONE],
    ['HTTP/1.1 100 Continue', 'X: 1', METHOD_GET, BODY_NONE],
    ['HTTP/1.1 200 OK', 'X: 1', METHOD_CONNECT, BODY_TUNNEL],
    ['HTTP/1.1 404 Not Found', 'Content-Length: 5', METHOD_CONNECT, BODY_LENGTH],
  ];
  for (const [line, field, method, body] of cases) {
    assert.ok(parse(response(line, field), method) > 0, `${line} ${field}`);
    assert.equal(head.body, body, `${line} ${field}`);
  }
});

test('a body that ends with the connection leaves none to use again', () => {
  assert.ok(parse(response('HTTP/1.1 200 OK')) > 0);
  assert.equal(head.keepAlive, false);
  assert.ok(parse(response('HTTP/1.0 200 OK', 'Content-Length: 1', 'Connection: keep-alive')) > 0);
  assert.equal(head.keepAlive, true);
  assert.ok(parse(response('HTTP/1.0 200 OK', 'Content-Length: 1')) > 0);
  assert.equal(head.keepAlive, false);
  assert.ok(parse(response('HTTP/1.1 200 OK', 'Content-Length: 1', 'Connection: close')) > 0);
  assert.equal(head.keepAlive, false);
});

test('interim responses are told from final ones, and 101 is taken only when asked for', () => {
  assert.ok(parse(response('HTTP/1.1 103 Early Hints')) > 0);
  assert.equal(head.isInterim, true);
  const switching = response('HTTP/1.1 101 Switching Protocols', 'Connection: Upgrade', 'Upgrade: x');
  assert.equal(parse(switching), BAD_GATEWAY);
  assert.ok(parse(switching, METHOD_GET, true) > 0);
  assert.deepEqual([head.isInterim, head.body], [false, BODY_TUNNEL]);
});

test('framing that is not to be trusted is refused', () => {
  for (const fields of [
    ['Content-Length: 5', 'Content-Length: 6'],
    ['Content-Length: 5', 'Transfer-Encoding: chunked'],
    ['Transfer-Encoding: gzip, chunked'],
    ['Transfer-Encoding: gzip'],
    ['Content-Length: x'],
    ['Content-Length: 99999999999999999999'],
  ]) {
    assert.equal(parse(response('HTTP/1.1 200 OK', ...fields)), BAD_GATEWAY, fields.join());
  }
  assert.equal(parse(response('HTTP/1.0 200 OK', 'Transfer-Encoding: chunked')), BAD_GATEWAY);
  assert.equal(parse(response('HTTP/1.1 204 No Content', 'Content-Length: 5')), BAD_GATEWAY);
});

test('what is no response is refused at its first wrong octet, a proper beginning is incomplete', () => {
  for (const start of [
    'I',
    'http',
    'HTTP/2',
    'HTTP/1.1x',
    'HTTP/1.1 6',
    'HTTP/1.1 20x',
    'HTTP/1.1 2000',
    'HTTP/1.1 200\n',
  ]) {
    assert.equal(parse(start), BAD_GATEWAY, start);
  }
  const source = response('HTTP/1.1 200 OK', 'Content-Length: 5');
  for (let length = 0; length < source.length; length++) assert.equal(parse(source.slice(0, length)), 0);
  assert.equal(parse(`HTTP/1.1 200 ${'a'.repeat(limits.headSize)}`), BAD_GATEWAY);
});
