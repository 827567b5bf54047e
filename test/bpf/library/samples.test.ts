/**
 * The sample programs, which use most of the library's names, compile, and the kernel takes them.
 */
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { compile } from '../../../src/bpf/compiler/compile.ts';
import { loadObject } from '../../../src/bpf/loader/collection.ts';
import { kernelSkip } from '../../support/bpf.ts';

for (const name of ['arena', 'drop', 'maps', 'sockets', 'services', 'latency']) {
  for (const optimise of [true, false]) {
    test(`the kernel takes sample-${name}.bpf.ts${optimise ? '' : ', not optimised'}`, { skip: kernelSkip }, () => {
      const path = fileURLToPath(new URL(`../programs/sample-${name}.bpf.ts`, import.meta.url));
      using _object = loadObject(compile(path, { optimise }));
    });
  }
}
