/**
 * How long the wire part takes: nanoseconds for a head, a chunk, a Date.
 *
 *   node bench/parser.ts
 *
 * Each figure is the best of several rounds: the question is what the code costs, not what else the machine did.
 */
import { RequestHead } from '../src/http/head.ts';

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
const head = new RequestHead();

for (const [name, source] of Object.entries(heads)) {
  const length = source.length;
  for (let block = 0; block < 64; block++) Buffer.from(arena.buffer).write(source, block * 16384, 'latin1');
  const nanoseconds = best((times) => {
    let sum = 0;
    for (let index = 0; index < times; index++) {
      const start = (index & 63) * 16384;
      sum += head.parse(arena, start, start + length, limits) - start;
    }
    return sum;
  }, 300_000);
  console.log(`${name.padEnd(28)} ${length.toString().padStart(6)} B ${nanoseconds.toFixed(0).padStart(6)} ns`);
}
