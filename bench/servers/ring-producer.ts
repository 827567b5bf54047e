/**
 * Writes records into BPF ring buffers as it is told on standard input: the load of `npm run bench -- ring`.
 *
 *   node bench/servers/ring-producer.ts        prints the map's id; then `burst COUNT PAUSE_US TIMES` writes TIMES bursts of COUNT
 *
 * Each burst is one BPF_PROG_TEST_RUN. After the last one a record with the number 2^64 - 1 ends the part, and a line of JSON tells how
 * many were written and how many found no room.
 */
import { performance } from 'node:perf_hooks';
import { createInterface } from 'node:readline';
import { compile } from '../../src/bpf/compiler/compile.ts';
import { loadObject } from '../../src/bpf/loader/collection.ts';
import { mapInfo } from '../../src/bpf/loader/info.ts';

using object = loadObject(compile(new URL('../bpf/ring-producer.bpf.ts', import.meta.url).pathname));
const { next, lost } = object.globals;
const program = object.programs.produce;
const data = new Uint8Array(64);
const END = (1n << 64n) - 1n;

process.stdout.write(`${JSON.stringify({ map: mapInfo(object.maps.events.descriptor).id })}\n`);

function untilMs(timeMs: number): void {
  // A sleep would be longer than the pause.
  while (performance.now() < timeMs);
}

/** Writes the end's record; a full ring is waited for, so that the reader always hears of it. */
function end(): void {
  for (let refused = true; refused; ) {
    const before = lost.value as bigint;
    next.value = END;
    program.testRun({ data });
    refused = (lost.value as bigint) > before;
    lost.value = before;
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const [count, pauseUs, times] = line.split(' ').slice(1).map(Number);
  next.value = 0n;
  lost.value = 0n;
  const begin = performance.now();
  for (let burst = 0; burst < times; burst++) {
    if (pauseUs > 0) untilMs(begin + (burst * pauseUs) / 1000);
    program.testRun({ data, repeat: count });
  }
  const written = Number(next.value);
  end();
  const tookMs = performance.now() - begin;
  process.stdout.write(`${JSON.stringify({ written, lost: Number(lost.value), tookMs })}\n`);
}
