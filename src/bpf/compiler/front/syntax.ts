/**
 * Room `bpf`: the syntax tree of a source: the parser's types by short names, and the parsing itself.
 *
 * A newcomer would get wrong: each node knows its file (`loc.filename`), which is how a message about a function that was inlined from
 * another module names the right one.
 */
import { type ParserOptions, parse } from '@babel/parser';
import { type Diagnostic, isTooDeep, Refusal, refuse, tooDeep } from '../diagnostics.ts';

export type File = ReturnType<typeof parse>;
export type Statement = File['program']['body'][number];
type StatementOf<T extends Statement['type']> = Extract<Statement, { type: T }>;
export type Expression = StatementOf<'ExpressionStatement'>['expression'];
export type ExpressionOf<T extends Expression['type']> = Extract<Expression, { type: T }>;
export type Call = ExpressionOf<'CallExpression'>;
export type Member = ExpressionOf<'MemberExpression'>;
export type StringLiteral = ExpressionOf<'StringLiteral'>;
export type Identifier = ExpressionOf<'Identifier'>;
export type ObjectLiteral = ExpressionOf<'ObjectExpression'>;
type Arrow = ExpressionOf<'ArrowFunctionExpression'>;
type FunctionExpression = ExpressionOf<'FunctionExpression'>;
type FunctionDeclaration = StatementOf<'FunctionDeclaration'>;
export type FunctionNode = Arrow | FunctionExpression | FunctionDeclaration | ObjectMethod;
type ObjectMethod = Extract<ObjectLiteral['properties'][number], { type: 'ObjectMethod' }>;
export type VariableDeclaration = StatementOf<'VariableDeclaration'>;
export type Declarator = VariableDeclaration['declarations'][number];
export type StatementNode<T extends Statement['type']> = StatementOf<T>;
export type TypeNode = StatementOf<'TSTypeAliasDeclaration'>['typeAnnotation'];
export type Parameter = FunctionNode['params'][number];

const options: ParserOptions = { sourceType: 'module', plugins: ['typescript'], attachComment: false };

/** What the parser says of a syntax error: the text without its own `(1:5)`, and the place. */
interface SyntaxProblem {
  readonly message: string;
  readonly loc: { readonly line: number; readonly column: number };
}

function isSyntaxProblem(error: unknown): error is SyntaxProblem {
  return error instanceof Error && 'loc' in error;
}

/** @throws Refusal for text that is not TypeScript */
export function parseSource(path: string, text: string): File {
  try {
    return parse(text, { ...options, sourceFilename: path });
  } catch (error) {
    if (isTooDeep(error)) throw new Refusal(tooDeep({}, path));
    if (!isSyntaxProblem(error)) throw error;
    const message = error.message.replace(/ \(\d+:\d+\)$/, '');
    const diagnostic: Diagnostic = {
      file: path,
      line: error.loc.line,
      column: error.loc.column + 1,
      message,
      advice: null,
    };
    throw new Refusal(diagnostic);
  }
}

/** What the parser leaves around an expression for TypeScript's sake only: `x as T`, `x!`, `x satisfies T`. */
export function bare(node: Expression): Expression {
  let inner = node;
  while (
    inner.type === 'TSAsExpression' ||
    inner.type === 'TSSatisfiesExpression' ||
    inner.type === 'TSNonNullExpression' ||
    inner.type === 'ParenthesizedExpression'
  ) {
    if (inner.type === 'TSNonNullExpression') {
      refuse(inner, '! does not test for null', 'test it: if (x === null) return …');
    }
    if (inner.type === 'TSAsExpression' && !isConstAssertion(inner)) {
      refuse(inner, '“as” does not convert a value', 'convert with the type itself: u32(x)');
    }
    inner = inner.expression;
  }
  return inner;
}

function isConstAssertion(node: ExpressionOf<'TSAsExpression'>): boolean {
  const type = node.typeAnnotation;
  return type.type === 'TSTypeReference' && type.typeName.type === 'Identifier' && type.typeName.name === 'const';
}

/** The arguments of a call as expressions. */
export function argumentsOf(node: Call): Expression[] {
  return node.arguments.map((argument) => {
    if (argument.type === 'SpreadElement') refuse(argument, 'spread (…) is not supported', 'write the arguments out');
    if (argument.type === 'ArgumentPlaceholder') refuse(argument, 'argument placeholders are not supported');
    return bare(argument);
  });
}

/** The elements of an array literal, in order. */
export function elementsOf(node: ExpressionOf<'ArrayExpression'>): Expression[] {
  return node.elements.map((element) => {
    if (element === null || element.type === 'SpreadElement') {
      refuse(element ?? node, 'this form of element is not supported', 'write the elements out');
    }
    return bare(element);
  });
}

/** A property's name where it is written out: `{ a: 1 }`, `{ 'a': 1 }`. */
export function propertyName(node: ObjectLiteral['properties'][number]): string {
  if (node.type === 'SpreadElement') refuse(node, 'spread (…) in an object is not supported', 'write the fields out');
  if (node.computed) refuse(node, 'computed field names are not supported', 'write the name out');
  if (node.key.type === 'Identifier') return node.key.name;
  if (node.key.type === 'StringLiteral') return node.key.value;
  return refuse(node.key, 'this cannot be a field’s name', 'write a name');
}

/** The properties of an object literal: name and value, in order. */
export function propertiesOf(node: ObjectLiteral): { readonly name: string; readonly value: Expression }[] {
  return node.properties.map((property) => {
    const name = propertyName(property);
    if (property.type !== 'ObjectProperty') refuse(property, 'methods are not supported here', 'write name: value');
    return { name, value: bare(property.value as Expression) };
  });
}
