/**
 * Field sections: offsets, known names, repeated and listed values, limits.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as names from '../../src/http/field-names.ts';
import { BAD_REQUEST, FIELDS_TOO_LARGE, Fields, INCOMPLETE } from '../../src/http/fields.ts';

function parse(section: string, countMax = 100): { fields: Fields; result: number } {
  const fields = new Fields(4);
  const bytes = Buffer.from(section, 'latin1');
  return { fields, result: fields.parse(bytes, 0, bytes.length, countMax) };
}

/** The number of a name that stands between others, as in an arena. */
function idOf(name: string): number {
  const bytes = new Uint8Array(Buffer.from(`..${name}....`));
  return names.fieldIdOf(bytes, new DataView(bytes.buffer), 2, 2 + name.length);
}

test('each constant is the number of the name it spells', () => {
  const constants = Object.entries(names).filter(
    ([key]) => key.startsWith('FIELD_') && !/_(?:NAMES|COUNT|OTHER)$/.test(key),
  );
  assert.equal(constants.length, names.FIELD_COUNT - 1);
  for (const [key, id] of constants) {
    assert.equal(names.FIELD_NAMES[id as number], key.slice('FIELD_'.length).toLowerCase().replaceAll('_', '-'));
  }
});

test('a known name is found in any case, a name that differs in one octet is not', () => {
  for (let id = 1; id < names.FIELD_COUNT; id++) {
    const name = names.FIELD_NAMES[id];
    for (const spelling of [name, name.toUpperCase(), name[0].toUpperCase() + name.slice(1)]) {
      assert.equal(idOf(spelling), id);
    }
    for (let index = 0; index < name.length; index++) {
      const other = `${name.slice(0, index)}_${name.slice(index + 1)}`;
      assert.equal(idOf(other), names.FIELD_OTHER, other);
    }
    assert.equal(idOf(`${name}s`), names.FIELD_OTHER);
  }
});

test('names and values are given without the whitespace around them', () => {
  const section = 'Host:a\r\nX-One: \t two words \t \r\nX-Empty:\r\nX-Blank: \t\r\n\r\n';
  const { fields, result } = parse(`${section}rest`);
  assert.equal(result, section.length);
  assert.equal(fields.count, 4);
  assert.deepEqual(
    [0, 1, 2, 3].map((index) => [fields.rawName(index), fields.name(index), fields.value(index)]),
    [
      ['Host', 'host', 'a'],
      ['X-One', 'x-one', 'two words'],
      ['X-Empty', 'x-empty', ''],
      ['X-Blank', 'x-blank', ''],
    ],
  );
});

test('several lines of one name are one list, known or not', () => {
  const { fields } = parse('Accept: a\r\nX-List: 1\r\naccept: b\r\nx-LIST: 2\r\nX-Other: 3\r\n\r\n');
  assert.equal(fields.get('accept'), 'a, b');
  assert.equal(fields.getKnown(names.FIELD_ACCEPT), 'a, b');
  assert.equal(fields.get('x-list'), '1, 2');
  assert.equal(fields.get('x-none'), null);
  assert.equal(fields.get('cookie'), null);
  assert.equal(fields.isRepeated(names.FIELD_ACCEPT), true);
  assert.equal(fields.next(fields.indexOfName('x-other')), -1);
});

test('what one section knew is forgotten by the next', () => {
  const fields = new Fields();
  const first = Buffer.from('Cookie: a\r\nAccept: b\r\nAccept: c\r\n\r\n');
  const second = Buffer.from('Accept: d\r\n\r\n');
  const cut = Buffer.from('Cookie: a\r\nHost');
  fields.parse(first, 0, first.length, 100);
  fields.parse(cut, 0, cut.length, 100);
  fields.parse(second, 0, second.length, 100);
  assert.equal(fields.indexOf(names.FIELD_COOKIE), -1);
  assert.equal(fields.indexOf(names.FIELD_HOST), -1);
  assert.equal(fields.isRepeated(names.FIELD_ACCEPT), false);
  assert.equal(fields.get('accept'), 'd');
});

test('more fields than allowed are refused, as many as allowed are not', () => {
  const lines = (count: number) => `${'X: 1\r\n'.repeat(count)}\r\n`;
  assert.equal(parse(lines(150), 150).fields.count, 150);
  assert.equal(parse(lines(151), 150).result, FIELDS_TOO_LARGE);
  assert.equal(parse('\r\n', 0).result, 2);
});

test('an octet that cannot stand where it stands is refused before the line ends', () => {
  for (const start of [
    'X y',
    'X\0',
    ': a',
    ' X: a',
    'X: a\nY',
    'X: a\rY',
    'X: \x7f',
    '\n',
    '\rX',
    'X\r',
    'X: a\r\n\tb',
  ]) {
    assert.equal(parse(start).result, BAD_REQUEST, JSON.stringify(start));
  }
  for (const start of ['', 'X', 'X:', 'X: ', 'X: a', 'X: a\r', 'X: a\r\n', 'X: a\r\n\r', '\r']) {
    assert.equal(parse(start).result, INCOMPLETE, JSON.stringify(start));
  }
});

test('a list element is found whole, in any case, over several lines', () => {
  const { fields } = parse('Connection: keep-alive , X-One\r\nConnection:,,\tClose\r\nX-One: 1\r\nX-On: 2\r\n\r\n');
  assert.equal(fields.hasElement(names.FIELD_CONNECTION, 'close'), true);
  assert.equal(fields.hasElement(names.FIELD_CONNECTION, 'keep'), false);
  assert.equal(fields.isNamedByConnection(fields.indexOfName('x-one')), true);
  assert.equal(fields.isNamedByConnection(fields.indexOfName('x-on')), false);
});

test('every octet is judged the same wherever it stands in a value', () => {
  for (let octet = 0; octet < 256; octet++) {
    const isAllowed = octet === 0x09 || (octet >= 0x20 && octet !== 0x7f);
    for (let before = 0; before < 9; before++) {
      for (const after of ['bcdefgh', '\x80\x80\x80\x80', '']) {
        const { result } = parse(`X:${'a'.repeat(before)}${String.fromCharCode(octet)}z${after}\r\n\r\n`);
        assert.equal(result > 0, isAllowed, `octet ${octet} behind ${before} others`);
      }
    }
  }
});
