/**
 * How long the wire part takes: nanoseconds for a head, a chunk, a Date.
 *
 *   node bench/parser.ts
 *
 * Each figure is the best of several rounds: the question is what the code costs, not what else the machine did.
 */
import { CHUNK_END, ChunkedDecoder } from '../src/http/chunked.ts';
import { DateCache } from '../src/http/date.ts';
import { RequestHead } from '../src/http/head.ts';
import { METHOD_GET } from '../src/http/methods.ts';
import { ResponseHead } from '../src/http/response-head.ts';
import { TextCache, text } from '../src/http/text.ts';

const limits = { headSize: 16384, headerCount: 100 };
const ROUNDS = 12;

const heads: Record<string, string> = {
  'wrk: GET with Host': 'GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n',
  'browser: 12 fields':
    'GET /assets/application-3f2a91bc.js?v=20 HTTP/1.1\r\nHost: www.example.com\r\nConnection: keep-alive\r\n' +
    'sec-ch-ua: "Chromium";v="128", "Not;A=Brand";v="24"\r\nsec-ch-ua-mobile: ?0\r\nsec-ch-ua-platform: "Linux"\r\n' +
    'User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.36\r\n' +
    'Accept: */*\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: no-cors\r\nReferer: https://www.example.com/index.html\r\n' +
    'Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\r\n',
};

function best(work: (times: number) => number, times: number): number {
  let nanoseconds = Number.POSITIVE_INFINITY;
  let check = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const begin = process.hrtime.bigint();
    check += work(times);
    nanoseconds = Math.min(nanoseconds, Number(process.hrtime.bigint() - begin) / times);
  }
  if (check === 0) throw new Error('the work was optimised away');
  return nanoseconds;
}

const arena = new Uint8Array(64 * 1024 * 1024);
const BLOCK_BYTES = 16384;
const BLOCKS = 64;
const TIMES = 200_000;

/** Puts `source` at the start of each block, as if it had arrived on many connections. */
function fill(source: string): number {
  for (let block = 0; block < BLOCKS; block++) Buffer.from(arena.buffer).write(source, block * BLOCK_BYTES, 'latin1');
  return source.length;
}

function report(name: string, length: number, work: (start: number, end: number) => number): void {
  const nanoseconds = best((times) => {
    let sum = 0;
    for (let index = 0; index < times; index++) {
      const start = (index & (BLOCKS - 1)) * BLOCK_BYTES;
      sum += work(start, start + length);
    }
    return sum;
  }, TIMES);
  console.log(`${name.padEnd(36)} ${length.toString().padStart(6)} B ${nanoseconds.toFixed(0).padStart(6)} ns`);
}

const head = new RequestHead();
for (const [name, source] of Object.entries(heads)) {
  report(name, fill(source), (start, end) => head.parse(arena, start, end, limits) - start);
}

const responseHead = new ResponseHead();
const response =
  'HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/html; charset=utf-8\r\n' +
  'Content-Length: 1024\r\nConnection: keep-alive\r\nETag: "5e3a-400"\r\nAccept-Ranges: bytes\r\n\r\n';
report('upstream response: 7 fields', fill(response), (start, end) =>
  responseHead.parse(arena, start, end, limits, METHOD_GET, false),
);

const decoder = new ChunkedDecoder(limits);
report('chunked: 4 KB in 4 chunks', fill(`${`400\r\n${'x'.repeat(1024)}\r\n`.repeat(4)}0\r\n\r\n`), (start, end) => {
  decoder.reset();
  let position = start;
  while (decoder.next(arena, position, end) !== CHUNK_END) position = decoder.position;
  return decoder.received;
});

for (const path of ['/', '/index.html', '/assets/application-3f2a91bc.js']) {
  const texts = new TextCache();
  report(`string, cached: ${path}`, fill(path), (start, end) => texts.get(arena, start, end).length);
  report(`string, made: ${path}`, path.length, (start, end) => text(arena, start, end).charCodeAt(0));
}

const dates = new DateCache();
report('Date, once a millisecond', 29, (start) => (dates.update(start / BLOCK_BYTES) ? 2 : 1));
