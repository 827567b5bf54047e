/**
 * Room `bpf`: the compiler's front end: from the text of a `*.bpf.ts` and the modules it imports to IR, maps and data.
 *
 * A newcomer would get wrong: it does not type-check as TypeScript does. It knows what it needs to generate code, refuses what it cannot
 * compile, and leaves the rest to `tsc`, for which the library has declarations.
 */

import { catalogue } from '../../library/catalogue.ts';
import type { Definition } from '../../library/definitions.ts';
import { CompileErrors } from '../diagnostics.ts';
import { condition } from './conditions.ts';
import { evaluateDeclaration } from './declare.ts';
import type { Module } from './entities.ts';
import { expression, readOperand } from './expressions.ts';
import type { Rules } from './frame.ts';
import { loadModule } from './modules.ts';
import { lowerProgram } from './programs.ts';
import { statements } from './statements.ts';
import { type FrontResult, Unit } from './unit.ts';

export type { FrontResult } from './unit.ts';

const rules: Rules = { expression, condition, statements, value: readOperand };

/** The names of values that a module exports, those that `export *` brings included; `export *` of the library brings none. */
function exportedNames(module: Module, seen = new Set<Module>()): Set<string> {
  const names = new Set<string>();
  if (seen.has(module)) return names;
  seen.add(module);
  for (const name of module.exports.keys()) if (!module.types.has(name)) names.add(name);
  for (const other of module.exportAll) {
    if (other !== null) for (const name of exportedNames(other, seen)) names.add(name);
  }
  return names;
}

/**
 * Lowers a module and what it imports.
 *
 * @param path shown in messages; imports are resolved against it
 * @param readFile gives a source's text, and throws an error with a `code` for one that cannot be read
 * @param library what `millrace/bpf` exports
 * @throws CompileErrors with all that is wrong, as far as it could be found in one go
 */
export function lowerModule(
  path: string,
  readFile: (path: string) => string,
  library: ReadonlyMap<string, Definition> = catalogue,
): FrontResult {
  const unit = new Unit(library, evaluateDeclaration);
  const module = unit.attempt(() => loadModule(unit, path, readFile));
  if (module !== null) {
    for (const [name, { node }] of module.declarations) {
      unit.attempt(() => unit.valueOf(module, name, node));
    }
    for (const name of exportedNames(module)) unit.attempt(() => unit.exportOf(module, name, module.file.program));
    for (const program of unit.programs) unit.attempt(() => lowerProgram(unit, program, rules), program.node);
  }
  if (unit.errors.length > 0) {
    const texts = new Map(unit.files.map((file) => [file.path, file.text]));
    throw new CompileErrors(unit.errors, (file) => texts.get(file) ?? '');
  }
  return unit.finish();
}
