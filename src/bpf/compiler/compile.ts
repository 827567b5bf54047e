/**
 * Room `bpf`: the compiler from end to end: text to IR, IR to better IR, IR to instructions, all of it to an object.
 *
 * A newcomer would get wrong: the object is for no kernel in particular. Offsets of kernel structs, maps and configuration are filled in
 * by the loader, so one object serves all.
 */
import { readFileSync } from 'node:fs';
import type { ObjectSpec } from '../object/spec.ts';
import { BackEndError, type Cpu, generate } from './back/index.ts';
import { checkFunction } from './check.ts';
import { CompileErrors, isTooDeep, tooDeep } from './diagnostics.ts';
import { type FrontResult, lowerModule } from './front/index.ts';
import type { IrModule } from './ir.ts';
import { objectOf } from './object-of.ts';
import { joinReads, optimise } from './passes/index.ts';
import { printFunction } from './print.ts';

export { CompileErrors, type Diagnostic } from './diagnostics.ts';

/** How to compile. */
export interface CompileOptions {
  /**
   * Off, the code says what the source says, step by step, but for values that are read twice, as the verifier wants it: for finding out
   * which part of the compiler is at fault. On unless told.
   */
  readonly optimise?: boolean;
  /** Sees between the compiler's parts that what they hand on is well formed, for the compiler's own tests. Off unless told. */
  readonly check?: boolean;
  /** The instruction set: 3 is known to every kernel since 5.1, 4 is shorter for signed numbers and needs 6.6. 3 unless told. */
  readonly cpu?: Cpu;
}

function complete(front: FrontResult, options: CompileOptions): ObjectSpec {
  try {
    return generated(front, options);
  } catch (error) {
    if (error instanceof BackEndError) throw placed(error, front.module);
    const [file] = front.module.files;
    if (isTooDeep(error)) throw new CompileErrors([tooDeep({}, file?.path ?? '')], () => file?.text ?? '');
    throw error;
  }
}

function generated(front: FrontResult, options: CompileOptions): ObjectSpec {
  const { optimise: isOptimised = true, check = false, cpu } = options;
  if (check) expectWellFormed(front.module, 'the front end');
  if (isOptimised) optimise(front.module);
  else joinReads(front.module);
  if (check) expectWellFormed(front.module, 'the optimiser');
  return objectOf(front, generate(front.module, { cpu }));
}

/** What the back end cannot do, shown as everything else that is wrong with a source. */
function placed(error: BackEndError, { files }: IrModule): CompileErrors {
  const { location, function: name, problem } = error;
  const file = files[location?.file ?? 0]?.path ?? '';
  const advice = /stack/.test(problem) ? 'keep large values in a map, such as perCpuArray' : null;
  const { line, column } = location ?? { line: 1, column: 1 };
  const texts = new Map(files.map(({ path, text }) => [path, text]));
  const diagnostic = { file, line, column, message: `${name} ${problem}`, advice };
  return new CompileErrors([diagnostic], (path) => texts.get(path) ?? '');
}

/** @throws Error for IR that a part of this compiler should not have made */
function expectWellFormed({ functions }: IrModule, maker: string): void {
  for (const target of functions) {
    const problems = checkFunction(target);
    if (problems.length === 0) continue;
    throw new Error(`${maker} made a broken ${target.name}:\n${problems.join('\n')}\n${printFunction(target)}`);
  }
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
