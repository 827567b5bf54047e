/**
 * Room `bpf`: the modules of a compilation: reads a source and all it imports, and lists what each declares at its top level.
 *
 * A newcomer would get wrong: nothing is evaluated here. `millrace/bpf`, and src/bpf/index.ts or src/bpf/library/index.ts by a relative
 * path, mean the library; every other import must be another *.bpf.ts module.
 */
import { dirname, join } from 'node:path/posix';
import { type Located, refuse } from '../diagnostics.ts';
import type { Declaration, Module } from './entities.ts';
import { type Identifier, parseSource, type Statement, type StatementNode, type StringLiteral } from './syntax.ts';
import type { Unit } from './unit.ts';
import { BROKEN } from './values.ts';

const isLibrary = (specifier: string): boolean =>
  specifier === 'millrace/bpf' || /^\.{1,2}\/(?:.*\/)?(?:bpf|library)\/index\.[jt]s$/.test(specifier);

/** Reads a module and those that it imports. @throws Refusal for a module that cannot be read or parsed */
export function loadModule(unit: Unit, path: string, readFile: (path: string) => string): Module {
  const known = unit.modules.get(path);
  if (known !== undefined) return known;
  const text = readFile(path);
  const index = unit.files.length;
  unit.files.push({ path, text });
  const module: Module = {
    path,
    index,
    file: parseSource(path, text),
    declarations: new Map(),
    types: new Map(),
    exports: new Map(),
    exportAll: [],
    values: new Map(),
  };
  // Before its imports are read: modules may import each other.
  unit.modules.set(path, module);
  for (const statement of module.file.program.body) {
    unit.attempt(() => declare(unit, module, statement, readFile));
  }
  return module;
}

function importedModule(
  unit: Unit,
  module: Module,
  node: Located,
  specifier: string,
  readFile: (path: string) => string,
): Module | null {
  if (isLibrary(specifier)) return null;
  if (!specifier.startsWith('.')) {
    refuse(node, `${specifier} does not run in the kernel`, 'import from millrace/bpf or from another *.bpf.ts');
  }
  if (!specifier.endsWith('.ts')) refuse(node, `${specifier} is no TypeScript source`, 'import another *.bpf.ts');
  const path = join(dirname(module.path), specifier);
  try {
    return loadModule(unit, path, readFile);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error)) throw error;
    return refuse(node, `${specifier} cannot be read: ${error.message}`);
  }
}

function declareName(module: Module, name: string, declaration: Declaration): void {
  if (module.declarations.has(name)) refuse(declaration.node, `${name} is declared twice`, 'rename one of them');
  module.declarations.set(name, declaration);
}

function declareImport(
  unit: Unit,
  module: Module,
  node: StatementNode<'ImportDeclaration'>,
  readFile: (path: string) => string,
): void {
  const from = importedModule(unit, module, node.source, node.source.value, readFile);
  for (const specifier of node.specifiers) {
    const name = specifier.local.name;
    if (specifier.type === 'ImportDefaultSpecifier') {
      refuse(specifier, 'default imports are not supported', `import it by its name: import { ${name} } from …`);
    }
    if (specifier.type === 'ImportNamespaceSpecifier') {
      declareName(module, name, { kind: 'import', node: specifier, from, name: null });
      continue;
    }
    const { imported } = specifier;
    const exported = imported.type === 'Identifier' ? imported.name : imported.value;
    module.types.set(name, { type: 'import', node: specifier, from, name: exported });
    if (node.importKind === 'type' || specifier.importKind === 'type') continue;
    declareName(module, name, { kind: 'import', node: specifier, from, name: exported });
  }
}

function nameOf(node: Identifier | StringLiteral): string {
  return node.type === 'Identifier' ? node.name : node.value;
}

function declareExports(
  unit: Unit,
  module: Module,
  node: StatementNode<'ExportNamedDeclaration'>,
  readFile: (path: string) => string,
): void {
  if (node.declaration !== null && node.declaration !== undefined) {
    declareStatement(module, node.declaration, true);
    return;
  }
  const { source } = node;
  const from = source ? importedModule(unit, module, source, source.value, readFile) : undefined;
  for (const specifier of node.specifiers) {
    if (specifier.type !== 'ExportSpecifier')
      refuse(specifier, 'this form of export is not supported', 'write export { a, b }');
    const { exported, local } = specifier;
    const own = nameOf(local as typeof exported);
    module.exports.set(nameOf(exported), from === undefined ? own : { from, name: own });
  }
}

function declareVariables(module: Module, node: StatementNode<'VariableDeclaration'>, exported: boolean): void {
  if (node.kind !== 'const') {
    // What uses these names is not reported again.
    for (const { id } of node.declarations) if (id.type === 'Identifier') module.values.set(id.name, BROKEN);
    refuse(
      node,
      `“${node.kind}” at the top of a module is not supported`,
      'write const, or global(u32, 0) for a variable',
    );
  }
  for (const declarator of node.declarations) {
    if (declarator.id.type !== 'Identifier') {
      refuse(declarator.id, 'destructuring at the top of a module is not supported', 'declare one name at a time');
    }
    declareName(module, declarator.id.name, { kind: 'constant', node: declarator });
    if (exported) module.exports.set(declarator.id.name, declarator.id.name);
  }
}

function declareStatement(module: Module, node: Statement, exported: boolean): void {
  switch (node.type) {
    case 'VariableDeclaration':
      if (node.declare) return;
      declareVariables(module, node, exported);
      return;
    case 'FunctionDeclaration': {
      const name = node.id?.name ?? '';
      declareName(module, name, { kind: 'function', node });
      if (exported) module.exports.set(name, name);
      return;
    }
    case 'TSEnumDeclaration':
      declareName(module, node.id.name, { kind: 'enum', node });
      if (exported) module.exports.set(node.id.name, node.id.name);
      return;
    case 'TSTypeAliasDeclaration':
    case 'TSInterfaceDeclaration':
      module.types.set(node.id.name, node);
      if (exported) module.exports.set(node.id.name, node.id.name);
      return;
    case 'ClassDeclaration':
      refuse(node, 'classes are not supported', 'use struct({…}) for data and functions for what is done with it');
      break;
    default:
      refuse(
        node,
        `${nameOfStatement(node)} at the top of a module is not supported`,
        'a module holds declarations only',
      );
  }
}

function declare(unit: Unit, module: Module, node: Statement, readFile: (path: string) => string): void {
  switch (node.type) {
    case 'ImportDeclaration':
      declareImport(unit, module, node, readFile);
      return;
    case 'ExportNamedDeclaration':
      declareExports(unit, module, node, readFile);
      return;
    case 'ExportAllDeclaration':
      module.exportAll.push(importedModule(unit, module, node.source, node.source.value, readFile));
      return;
    case 'ExportDefaultDeclaration':
      refuse(node, 'a default export is not supported', 'give it a name: export const name = …');
      break;
    case 'ExpressionStatement':
      declareLicense(unit, node);
      return;
    case 'EmptyStatement':
      return;
    default:
      declareStatement(module, node, false);
      return;
  }
}

/** `license('GPL');` is the one statement that a module may hold. */
function declareLicense(unit: Unit, node: StatementNode<'ExpressionStatement'>): void {
  const call = node.expression;
  const isLicense =
    call.type === 'CallExpression' && call.callee.type === 'Identifier' && call.callee.name === 'license';
  const argument = isLicense ? call.arguments[0] : undefined;
  if (argument?.type !== 'StringLiteral') {
    refuse(node, 'a statement at the top of a module is not supported', 'a module holds declarations only');
  }
  unit.license = argument.value;
}

/** A statement as messages name it. */
export function nameOfStatement(node: Statement): string {
  const words: Partial<Record<Statement['type'], string>> = {
    ClassDeclaration: 'a class',
    ForInStatement: 'for…in',
    ThrowStatement: '“throw”',
    TryStatement: '“try”',
    WithStatement: '“with”',
    TSModuleDeclaration: 'a namespace',
    TSImportEqualsDeclaration: 'import =',
    TSExportAssignment: 'export =',
  };
  return words[node.type] ?? node.type.replace(/Statement$|Declaration$/, '').toLowerCase();
}
