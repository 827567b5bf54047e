/**
 * Room `bpf`: the compiler from end to end: text to IR, IR to better IR, IR to instructions, all of it to an object.
 *
 * A newcomer would get wrong: the object is for no kernel in particular. Offsets of kernel structs, maps and configuration are filled in
 * by the loader, so one object serves all.
 */
import { readFileSync } from 'node:fs';
import type { ObjectSpec } from '../object/spec.ts';
import { generate } from './back/index.ts';
import { type FrontResult, lowerModule } from './front/index.ts';
import { objectOf } from './object-of.ts';
import { optimise } from './passes/index.ts';

export { CompileErrors, type Diagnostic } from './diagnostics.ts';

/** How to compile. */
export interface CompileOptions {
  /** Off, the code says what the source says, step by step: for finding out which part of the compiler is at fault. On unless told. */
  readonly optimise?: boolean;
}

function complete(front: FrontResult, options: CompileOptions): ObjectSpec {
  if (options.optimise !== false) optimise(front.module);
  return objectOf(front, generate(front.module));
}

/**
 * Compiles a `*.bpf.ts` and the modules it imports.
 *
 *     const object = compile('drop.bpf.ts');
 *
 * @throws CompileErrors for what the language does not allow; an Error with `code` for a file that cannot be read
 */
export function compile(path: string, options: CompileOptions = {}): ObjectSpec {
  return complete(
    lowerModule(path, (file) => readFileSync(file, 'utf8')),
    options,
  );
}

/** Compiles a text. `path` is for messages and for what the text imports. @throws CompileErrors */
export function compileText(text: string, path = 'program.bpf.ts', options: CompileOptions = {}): ObjectSpec {
  return complete(
    lowerModule(path, (file) => (file === path ? text : readFileSync(file, 'utf8'))),
    options,
  );
}
