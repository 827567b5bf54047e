/**
 * Every program of the suite, optimised and not: its IR is well formed between the compiler's parts, and it has a form as instructions.
 */
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { compile } from '../../../src/bpf/compiler/compile.ts';
import { packetCases } from '../../support/bpf-suite-packets.ts';
import { socketCases } from '../../support/bpf-suite-sockets.ts';

const programs = [...packetCases, ...socketCases].map(
  ({ name }) => new URL(`../programs/${name}.bpf.ts`, import.meta.url),
);

for (const optimise of [false, true]) {
  test(`the suite’s programs are well formed between the compiler’s parts, ${optimise ? '' : 'not '}optimised`, () => {
    for (const program of programs) compile(fileURLToPath(program), { optimise, check: true });
  });
}
