/**
 * Compiles a module again and again in one process, and prints the milliseconds of each time as a line of JSON.
 *
 *   node bench/servers/warm-build.ts PROGRAM.bpf.ts TIMES
 */
import { performance } from 'node:perf_hooks';
import { compile } from '../../src/bpf/compiler/compile.ts';
import { slotsOf } from '../../src/bpf/instructions.ts';
import { writeElf } from '../../src/bpf/object/elf/write.ts';

const [path, times] = process.argv.slice(2);
const tookMs: number[] = [];
let instructions = 0;
for (let time = 0; time < Number(times); time++) {
  const begin = performance.now();
  const object = compile(path);
  writeElf(object);
  tookMs.push(performance.now() - begin);
  instructions = object.functions.reduce(
    (sum, one) => one.instructions.reduce((slots, instruction) => slots + slotsOf(instruction), sum),
    0,
  );
}
process.stdout.write(`${JSON.stringify({ tookMs, instructions })}\n`);
