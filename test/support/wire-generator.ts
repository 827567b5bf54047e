/**
 * Requests for the differential test, always the same for a seed: a third valid, half mutated, the rest garbage. One character
 * is one octet. `Connection: Upgrade` is not among the fields: for Node, what follows it is another protocol.
 */

/** Mulberry32: small, fast, good enough to choose mutations. */
class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0 to `bound` - 1. */
  below(bound: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % bound;
  }

  pick<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)];
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }
}

const METHODS = ['GET', 'GET', 'HEAD', 'POST', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'TRACE'];
const USUAL_TARGETS = ['/', '/a/b?c=d', '/%20%7e', '/?q=[1]|{2}', '/a//../b', 'http://b.test/x?y', '/x?100%25'];
/** Node refuses the last, which hides what else is wrong with a message. */
const TARGETS = [...USUAL_TARGETS, ...USUAL_TARGETS, ...USUAL_TARGETS, '/\xe4'];
const FIELDS = [
  'Accept: */*',
  'Accept:text/html;q=0.8,*/*;q=0.1',
  'X-Empty:',
  'X-Blank: \t ',
  'X-High: \xe4\xff',
  'X-Space: \t a b\tc \t',
  'Connection: keep-alive',
  'Connection: x, close',
  'Upgrade: foo/1',
  'Cookie: a=1; b="2"',
  'Cookie: c=3',
  'Expect: 100-continue',
  'TE: trailers',
  'X!#$%: 1',
  'If-None-Match: "a", W/"b"',
];
const VERSIONS = ['1.1', '1.1', '1.1', '1.1', '1.1', '1.1', '1.0'];
const DATA = ['', 'a', 'hello', '\r\n', '0\r\n\r\n', 'GET / HTTP/1.1\r\n\r\n', '\0\xff\x80', 'x'.repeat(300)];
const EXTENSIONS = ['', '', '', ';a', ';a=b', ';a="b;c\\"d"', ';a;b=c'];
const TRAILERS = ['', '', 'X-Sum: 1\r\n', 'X-A:\r\nX-B: \t2 \r\n'];

/** Lines that a smuggler would add. */
const SUSPICIOUS = [
  'Content-Length: 5',
  'Content-Length: 0',
  'Content-Length: 005',
  'Content-Length: +5',
  'Content-Length: 5, 5',
  'Content-Length:',
  'Content-Length: 99999999999999999999',
  'Content-Length : 5',
  'Transfer-Encoding: chunked',
  'Transfer-Encoding: CHUNKED',
  'Transfer-Encoding: gzip, chunked',
  'Transfer-Encoding: chunked, gzip',
  'Transfer-Encoding: identity',
  'Transfer-Encoding:\tchunked',
  'Transfer-Encoding: "chunked"',
  'Transfer-Encoding: ,chunked',
  'Transfer-Encoding : chunked',
  ' folded',
  '\tContent-Length: 5',
  'Host: b.test',
  'Host:',
  'Connection: close',
  'no colon',
  ': no name',
];

const OCTETS = '\0\x01\t\n\x0b\x0c\r !"#%,-./:;=?@[\\]{}~\x7f\x80\x85\xa0\xff059aAfFgGxX';
const WORDS = [
  'GET',
  'POST',
  ' ',
  '/',
  'HTTP/1.1',
  'HTTP/1.0',
  '\r\n',
  '\r\n\r\n',
  '\n',
  '\r',
  'Host: a',
  ':',
  'X',
  '0',
  '5',
  '\0',
  '\t',
];

function validRequest(random: Random): string {
  const version = random.pick(VERSIONS);
  const lines = [`${random.pick(METHODS)} ${random.pick(TARGETS)} HTTP/${version}`];
  if (version === '1.1' || random.chance(50)) lines.push('Host: a.test:80');
  for (let count = random.below(5); count > 0; count--) lines.push(random.pick(FIELDS));
  let body = '';
  const framing = random.below(3);
  if (framing === 1) {
    body = random.pick(DATA);
    lines.push(`Content-Length: ${body.length}`);
  } else if (framing === 2 && version === '1.1') {
    lines.push('Transfer-Encoding: chunked');
    for (let count = random.below(4); count > 0; count--) {
      const data = random.pick(DATA.slice(1));
      body += `${data.length.toString(16)}${random.pick(EXTENSIONS)}\r\n${data}\r\n`;
    }
    body += `0${random.pick(EXTENSIONS)}\r\n${random.pick(TRAILERS)}\r\n`;
  }
  return `${random.chance(5) ? '\r\n' : ''}${lines.join('\r\n')}\r\n\r\n${body}`;
}

function pipeline(random: Random): string {
  let source = validRequest(random);
  while (random.chance(30)) source += validRequest(random);
  return source;
}

function mutate(random: Random, source: string): string {
  const position = random.below(source.length + 1);
  const before = source.slice(0, position);
  const after = source.slice(position);
  switch (random.below(6)) {
    case 0:
      return before + random.pick([...OCTETS]) + after.slice(1);
    case 1:
      return before + after.slice(1 + random.below(3));
    case 2:
      return before + random.pick([...OCTETS]) + after;
    case 3:
      return before + source.slice(random.below(source.length + 1)).slice(0, random.below(20)) + after;
    case 4:
      return before;
    default: {
      // Between two lines, where a field would stand.
      const end = source.indexOf('\r\n', position);
      if (end < 0) return `${source}${random.pick(SUSPICIOUS)}`;
      return `${source.slice(0, end)}\r\n${random.pick(SUSPICIOUS)}${source.slice(end)}`;
    }
  }
}

function garbage(random: Random): string {
  let source = '';
  for (let count = 1 + random.below(12); count > 0; count--) {
    source += random.chance(70) ? random.pick(WORDS) : String.fromCharCode(random.below(256));
  }
  return source;
}

export function* generateRequests(seed: number, count: number): Generator<string> {
  const random = new Random(seed);
  for (let index = 0; index < count; index++) {
    const kind = random.below(100);
    if (kind < 30) yield pipeline(random);
    else if (kind < 85) {
      let source = pipeline(random);
      for (let mutations = 1 + random.below(2); mutations > 0; mutations--) source = mutate(random, source);
      yield source;
    } else yield garbage(random);
  }
}
