/**
 * Room `bpf`: what the names of a module stand for, once the compiler has looked at their declarations.
 *
 * A newcomer would get wrong: a module's names are looked at when they are first used, not in order, as JavaScript allows functions to
 * name what is declared below them.
 */
import type { MapDefinition, ProgramDefinition } from '../../library/definitions.ts';
import type { MapSpec } from '../../object/spec.ts';
import type { Type } from '../../types.ts';
import type { Located } from '../diagnostics.ts';
import type { Declarator, File, FunctionNode, StatementNode } from './syntax.ts';
import type { Operand } from './values.ts';

/** A name at the top level of a module. */
export type Declaration =
  | { readonly kind: 'constant'; readonly node: Declarator }
  | { readonly kind: 'function'; readonly node: FunctionNode & { type: 'FunctionDeclaration' } }
  | { readonly kind: 'enum'; readonly node: StatementNode<'TSEnumDeclaration'> }
  /** `from` null: the library. `name` null: all of it (`import * as`). */
  | { readonly kind: 'import'; readonly node: Located; readonly from: Module | null; readonly name: string | null };

/** A type alias or an interface. */
export type TypeDeclaration =
  | StatementNode<'TSTypeAliasDeclaration'>
  | StatementNode<'TSInterfaceDeclaration'>
  | { readonly type: 'import'; readonly node: Located; readonly from: Module | null; readonly name: string };

/** One source file. */
export interface Module {
  readonly path: string;
  /** Into `IrModule.files`. */
  readonly index: number;
  readonly file: File;
  readonly declarations: Map<string, Declaration>;
  readonly types: Map<string, TypeDeclaration>;
  /** What other modules may import, by the name they use, to the name here; or from where it is passed on. */
  readonly exports: Map<string, string | { readonly from: Module | null; readonly name: string }>;
  readonly exportAll: (Module | null)[];
  /** Names looked at so far; `pending` while that is going on. */
  readonly values: Map<string, Operand | 'pending'>;
}

export interface MapEntity {
  readonly spec: MapSpec;
  readonly definition: MapDefinition;
  readonly inner: MapEntity | null;
}

/** A variable that user space shares: in `.rodata`, `.data`, `.bss`, `.kconfig` or `.ksyms`. */
export interface GlobalEntity {
  readonly name: string;
  readonly section: string;
  readonly offset: number;
  readonly type: Type;
  readonly writable: boolean;
}

export interface FunctionEntity {
  readonly name: string;
  readonly node: FunctionNode;
  readonly module: Module;
  /** `subprogram(f)`: never inlined. */
  readonly separate: boolean;
}

export interface ProgramEntity {
  readonly name: string;
  readonly definition: ProgramDefinition;
  /** What the constructor's string names. */
  readonly target: string | null;
  readonly flags: number;
  readonly section: string;
  readonly node: FunctionNode;
  readonly module: Module;
}
