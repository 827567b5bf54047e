/** Dates, entity tags, conditions, ranges, paths and media types: what requests for files mean. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  evaluateConditions,
  ifRangeHolds,
  NOT_MODIFIED,
  PRECONDITION_FAILED,
  PROCEED,
} from '../../src/http/conditions.ts';
import { DATE_BYTES, DateCache, formatDate, parseDate } from '../../src/http/date.ts';
import { entityTagsOf, fileEntityTag, isEntityTag, strongMatch, weakMatch } from '../../src/http/entity-tag.ts';
import { isCompressible, mediaTypeOf, OCTETS } from '../../src/http/media-types.ts';
import { type PathRefusal, resolvePath } from '../../src/http/path.ts';
import { contentRange, parseRange, unsatisfiedRange } from '../../src/http/range.ts';
import { isBodiless, reasonPhrase, statusLine } from '../../src/http/status.ts';

const TIME = Date.UTC(1994, 10, 6, 8, 49, 37);

test('a date is read in each of the three forms and written in the first', () => {
  assert.equal(formatDate(TIME), 'Sun, 06 Nov 1994 08:49:37 GMT');
  assert.equal(parseDate('Sun, 06 Nov 1994 08:49:37 GMT'), TIME);
  assert.equal(parseDate('Sunday, 06-Nov-94 08:49:37 GMT'), TIME);
  assert.equal(parseDate('Sun Nov  6 08:49:37 1994'), TIME);
});

test('a two-digit year lies at most 50 years ahead', () => {
  const now = Date.UTC(2026, 0, 1);
  assert.equal(new Date(parseDate('Sunday, 06-Nov-76 08:49:37 GMT', now)).getUTCFullYear(), 2076);
  assert.equal(new Date(parseDate('Sunday, 06-Nov-77 08:49:37 GMT', now)).getUTCFullYear(), 1977);
});

test('what is no date is not guessed at', () => {
  for (const value of [
    '',
    'Sun, 6 Nov 1994 08:49:37 GMT',
    'Sun, 06 Nov 1994 08:49:37',
    'Sun, 06 Nov 1994 08:49:37 UTC',
    'sun, 06 nov 1994 08:49:37 GMT',
    'Sun, 31 Feb 1994 08:49:37 GMT',
    'Sun, 00 Nov 1994 08:49:37 GMT',
    'Sun, 06 Nov 1994 24:00:00 GMT',
    'Sun, 06 Nov 1994 08:60:00 GMT',
    '1994-11-06T08:49:37Z',
    '784111777',
  ]) {
    assert.equal(parseDate(value), Number.NaN, value);
  }
});

test('the cached Date changes with the second and not before', () => {
  const cache = new DateCache();
  assert.equal(cache.update(TIME + 1), true);
  assert.equal(cache.update(TIME + 999), false);
  assert.equal(Buffer.from(cache.bytes).toString(), formatDate(TIME));
  assert.equal(cache.update(TIME + 1000), true);
  assert.equal(Buffer.from(cache.bytes).toString(), formatDate(TIME + 1000));
  assert.equal(cache.bytes.length, DATE_BYTES);
});

test('a list of entity tags is read although tags hold commas', () => {
  assert.deepEqual(entityTagsOf('"a", W/"b,c" ,, "d"'), ['"a"', 'W/"b,c"', '"d"']);
  for (const value of ['', ',', 'a', '"a', '"a" "b"', 'w/"a"', '"a", b', '*'])
    assert.equal(entityTagsOf(value), null, value);
  assert.equal(isEntityTag('W/""'), true);
  assert.equal(isEntityTag('"a"b"'), false);
});

test('weak tags match weakly only', () => {
  assert.equal(strongMatch('"a"', '"a"'), true);
  assert.equal(strongMatch('W/"a"', 'W/"a"'), false);
  assert.equal(weakMatch('W/"a"', '"a"'), true);
  assert.equal(weakMatch('W/"a"', '"b"'), false);
});

test('a file that was written again has another tag, within the same second too', () => {
  const tags = [fileEntityTag(10, 5, 6), fileEntityTag(11, 5, 6), fileEntityTag(10, 6, 6), fileEntityTag(10, 5, 7)];
  assert.equal(new Set(tags).size, 4);
  for (const tag of tags) assert.ok(isEntityTag(tag));
});

test('conditions are evaluated in the order of RFC 9110 section 13.2.2', () => {
  const none = { ifMatch: null, ifNoneMatch: null, ifModifiedSince: null, ifUnmodifiedSince: null };
  const file = { entityTag: '"a"', modifiedMs: TIME + 500 };
  const date = formatDate(TIME);
  const earlier = formatDate(TIME - 1000);
  const check = (conditions: Partial<typeof none> | Record<string, string>, isRead = true) =>
    evaluateConditions({ ...none, ...conditions }, file, isRead);

  assert.equal(check({}), PROCEED);
  assert.equal(check({ ifMatch: '"a"' }), PROCEED);
  assert.equal(check({ ifMatch: '*' }), PROCEED);
  assert.equal(check({ ifMatch: '"b"' }), PRECONDITION_FAILED);
  assert.equal(check({ ifMatch: 'W/"a"' }), PRECONDITION_FAILED);
  assert.equal(check({ ifMatch: '"a"', ifUnmodifiedSince: earlier }), PROCEED);
  assert.equal(check({ ifUnmodifiedSince: date }), PROCEED);
  assert.equal(check({ ifUnmodifiedSince: earlier }), PRECONDITION_FAILED);
  assert.equal(check({ ifUnmodifiedSince: 'never' }), PROCEED);
  assert.equal(check({ ifNoneMatch: 'W/"a"' }), NOT_MODIFIED);
  assert.equal(check({ ifNoneMatch: '"x", "a"' }), NOT_MODIFIED);
  assert.equal(check({ ifNoneMatch: '*' }), NOT_MODIFIED);
  assert.equal(check({ ifNoneMatch: '"a"' }, false), PRECONDITION_FAILED);
  assert.equal(check({ ifNoneMatch: '"b"', ifModifiedSince: date }), PROCEED);
  assert.equal(check({ ifModifiedSince: date }), NOT_MODIFIED);
  assert.equal(check({ ifModifiedSince: date }, false), PROCEED);
  assert.equal(check({ ifModifiedSince: earlier }), PROCEED);
  assert.equal(check({ ifMatch: '"a"', ifNoneMatch: '"a"' }), NOT_MODIFIED);
  assert.equal(evaluateConditions({ ...none, ifMatch: '*' }, null, false), PRECONDITION_FAILED);
  assert.equal(evaluateConditions({ ...none, ifNoneMatch: '*' }, null, false), PROCEED);
});

test('If-Range holds only for the very same representation', () => {
  const file = { entityTag: '"a"', modifiedMs: TIME };
  const now = TIME + 60_000;
  assert.equal(ifRangeHolds('"a"', file, now), true);
  assert.equal(ifRangeHolds('W/"a"', file, now), false);
  assert.equal(ifRangeHolds('"b"', file, now), false);
  assert.equal(ifRangeHolds('W/"a"', { entityTag: 'W/"a"', modifiedMs: TIME }, now), false);
  assert.equal(ifRangeHolds(formatDate(TIME), file, now), true);
  assert.equal(ifRangeHolds(formatDate(TIME + 1000), file, now), false);
  assert.equal(ifRangeHolds(formatDate(TIME), file, TIME + 500), false);
  assert.equal(ifRangeHolds('x', file, now), false);
});

test('a range is cut to the representation', () => {
  const ranges = (value: string, size = 100) => {
    const verdict = parseRange(value, size);
    return verdict.kind === 'ranges' ? verdict.ranges.map(({ start, end }) => [start, end]) : verdict.kind;
  };
  assert.deepEqual(ranges('bytes=0-0'), [[0, 1]]);
  assert.deepEqual(ranges('bytes=10-'), [[10, 100]]);
  assert.deepEqual(ranges('bytes=-10'), [[90, 100]]);
  assert.deepEqual(ranges('bytes=-1000'), [[0, 100]]);
  assert.deepEqual(ranges('bytes=90-1000'), [[90, 100]]);
  assert.deepEqual(ranges('Bytes=0-1, 5-6 ,,-1'), [
    [0, 2],
    [5, 7],
    [99, 100],
  ]);
  assert.deepEqual(ranges('bytes=0-1, 200-300'), [[0, 2]]);
  assert.equal(ranges('bytes=100-'), 'unsatisfiable');
  assert.equal(ranges('bytes=-0'), 'unsatisfiable');
  assert.equal(ranges('bytes=0-', 0), 'unsatisfiable');
  for (const value of [
    '',
    'bytes',
    'bytes=',
    'bytes=,',
    'bytes=a-b',
    'bytes=5-1',
    'bytes=-',
    'bytes=1',
    'items=0-1',
    'bytes=0-1 2-3',
  ]) {
    assert.equal(ranges(value), 'whole', value);
  }
  assert.equal(contentRange({ start: 0, end: 10 }, 100), 'bytes 0-9/100');
  assert.equal(unsatisfiedRange(100), 'bytes */100');
});

test('many or overlapping ranges are answered with the whole', () => {
  assert.equal(
    parseRange(`bytes=${Array.from({ length: 17 }, (_, index) => `${index * 2}-${index * 2}`)}`, 100).kind,
    'whole',
  );
  assert.equal(parseRange('bytes=0-,0-,0-', 100).kind, 'whole');
  assert.equal(parseRange('bytes=0-10,5-20', 100).kind, 'ranges');
});

test('a path is decoded once and stays below the root', () => {
  const names: [path: string, name: string][] = [
    ['/', '/'],
    ['/a/b.html', '/a/b.html'],
    ['/a/', '/a/'],
    ['/a//b', '/a/b'],
    ['//', '/'],
    ['/a/./b/../c', '/a/c'],
    ['/a/..', '/'],
    ['/a/b/..', '/a/'],
    ['/a/.', '/a/'],
    ['/.a/..b/c...', '/.a/..b/c...'],
    ['/%61%20b', '/a b'],
    ['/%c3%a4', '/ä'],
    ['/\xc3\xa4', '/ä'],
    ['/%252e%252e/', '/%2e%2e/'],
    ['/%2e/a', '/a'],
    ['/a?', '/a?'],
  ];
  for (const [path, name] of names) assert.deepEqual(resolvePath(path), { ok: true, path: name }, path);
});

test('a path that would escape the root is refused in every encoding', () => {
  const refusals: [path: string, refusal: PathRefusal][] = [
    ['', 'not-absolute'],
    ['a', 'not-absolute'],
    ['*', 'not-absolute'],
    ['/..', 'above-root'],
    ['/../etc/passwd', 'above-root'],
    ['/a/../../b', 'above-root'],
    ['/%2e%2e/b', 'above-root'],
    ['/.%2E/b', 'above-root'],
    ['/a/%2e./%2e%2e/b', 'above-root'],
    ['//../b', 'above-root'],
    ['/..%2fb', 'forbidden-character'],
    ['/a%2Fb', 'forbidden-character'],
    ['/..%5cb', 'forbidden-character'],
    ['/..\\b', 'forbidden-character'],
    ['/a%00.html', 'forbidden-character'],
    ['/a%0ab', 'forbidden-character'],
    ['/a%7f', 'forbidden-character'],
    ['/%', 'bad-encoding'],
    ['/%2', 'bad-encoding'],
    ['/%u002e', 'bad-encoding'],
    ['/%c0%ae%c0%ae/b', 'not-utf-8'],
    ['/%c0%af', 'not-utf-8'],
    ['/%e0%80%ae', 'not-utf-8'],
    ['/%ed%a0%80', 'not-utf-8'],
    ['/%ff', 'not-utf-8'],
    ['/\xe4', 'not-utf-8'],
  ];
  for (const [path, refusal] of refusals) assert.deepEqual(resolvePath(path), { ok: false, refusal }, path);
});

test('a type goes by the last extension, in any case, and unknown is octets', () => {
  assert.equal(mediaTypeOf('/a/index.HTML'), 'text/html; charset=utf-8');
  assert.equal(mediaTypeOf('app.min.js'), 'text/javascript; charset=utf-8');
  assert.equal(mediaTypeOf('a.svg'), 'image/svg+xml');
  assert.equal(mediaTypeOf('a.tar.gz'), 'application/gzip');
  for (const name of ['a', '.html', '/a.html/b', 'a.', 'a.constructor', 'a.__proto__'])
    assert.equal(mediaTypeOf(name), OCTETS, name);
  for (const name of ['a.html', 'a.js', 'a.json', 'a.svg', 'a.wasm', 'a.xml', 'a.ttf']) {
    assert.equal(isCompressible(mediaTypeOf(name)), true, name);
  }
  for (const name of ['a.png', 'a.woff2', 'a.zip', 'a.mp4', 'a'])
    assert.equal(isCompressible(mediaTypeOf(name)), false, name);
});

test('a status has its phrase, an unknown one a line without', () => {
  assert.equal(reasonPhrase(431), 'Request Header Fields Too Large');
  assert.equal(statusLine(200), 'HTTP/1.1 200 OK\r\n');
  assert.equal(statusLine(499), 'HTTP/1.1 499 \r\n');
  assert.deepEqual([100, 200, 204, 205, 304, 404].map(isBodiless), [true, false, true, false, true, false]);
});
