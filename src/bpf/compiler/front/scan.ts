/**
 * Room `bpf`: questions to the syntax that need no types: which names a function assigns to, how large it is, how often it is called.
 *
 * A newcomer would get wrong: names are compared by their text, without regard to scopes. That is safe: a name that is assigned to in an
 * inner scope only costs the outer one of the same name an optimisation.
 */
import type { Unit } from './unit.ts';

interface AnyNode {
  readonly type: string;
  readonly [key: string]: unknown;
}

const isNode = (value: unknown): value is AnyNode =>
  typeof value === 'object' && value !== null && typeof (value as { type?: unknown }).type === 'string';

/** Calls `visit` for a node and all below it. */
function walk(node: AnyNode, visit: (node: AnyNode) => void): void {
  visit(node);
  for (const key in node) {
    if (key === 'loc' || key === 'extra') continue;
    const value = node[key];
    if (Array.isArray(value)) {
      for (const one of value) if (isNode(one)) walk(one, visit);
    } else if (isNode(value)) {
      walk(value, visit);
    }
  }
}

const assignments = new WeakMap<object, ReadonlySet<string>>();
const sizes = new WeakMap<object, number>();
const calls = new WeakMap<Unit, ReadonlyMap<string, number>>();

/** The names that are assigned to below a node. */
export function assignedIn(node: object): ReadonlySet<string> {
  const known = assignments.get(node);
  if (known !== undefined) return known;
  const names = new Set<string>();
  if (isNode(node)) {
    walk(node, (one) => {
      const target =
        one.type === 'AssignmentExpression' ? one.left : one.type === 'UpdateExpression' ? one.argument : null;
      if (isNode(target) && target.type === 'Identifier') names.add(target.name as string);
    });
  }
  assignments.set(node, names);
  return names;
}

/** The fields that are used of a name below a node, in the order of the text. */
export function membersIn(node: object, name: string): readonly string[] {
  const found = new Set<string>();
  if (isNode(node)) {
    walk(node, ({ type, object, property, computed }) => {
      if (!type.endsWith('MemberExpression') || computed === true || !isNode(object) || !isNode(property)) return;
      if (object.type === 'Identifier' && object.name === name && property.type === 'Identifier') {
        found.add(property.name as string);
      }
    });
  }
  return [...found];
}

/** How many nodes a function has. */
export function sizeOf(node: object): number {
  const known = sizes.get(node);
  if (known !== undefined) return known;
  let size = 0;
  if (isNode(node)) walk(node, () => size++);
  sizes.set(node, size);
  return size;
}

/** How often the sources call a function of this name. */
export function callsOf(unit: Unit, name: string): number {
  let counts = calls.get(unit);
  if (counts === undefined) {
    const counted = new Map<string, number>();
    for (const { file } of unit.modules.values()) {
      walk(file.program as unknown as AnyNode, ({ type, callee }) => {
        if (type !== 'CallExpression' || !isNode(callee) || callee.type !== 'Identifier') return;
        const called = callee.name as string;
        counted.set(called, (counted.get(called) ?? 0) + 1);
      });
    }
    counts = counted;
    calls.set(unit, counts);
  }
  return counts.get(name) ?? 0;
}
