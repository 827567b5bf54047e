/**
 * Room `bpf`: what must hold of IR between front end, passes and back end. Tests call it behind every step; a problem here is the
 * compiler's own error, never the user's.
 *
 * A newcomer would get wrong: a phi reads its inputs at the end of the predecessors, not where it stands. So an input's definition
 * must dominate the predecessor, and may well stand behind the phi.
 */
import { DominatorTree } from './dominators.ts';
import {
  type Block,
  type IrFunction,
  operandsOf,
  type Phi,
  successorsOf,
  terminatorOperands,
  type Value,
} from './ir.ts';
import { printValue } from './print.ts';

const ARGUMENTS_MAX = 5;

/** Everything that is wrong with a function, one sentence each; nothing where it is well formed. */
export function checkFunction(target: IrFunction): string[] {
  const problems = [...checkEdges(target), ...checkDefinitions(target)];
  // Dominance means nothing where edges or definitions are broken.
  return problems.length > 0 ? problems : [...checkUses(target), ...checkOperations(target)];
}

function checkEdges(target: IrFunction): string[] {
  const problems: string[] = [];
  const blocks = new Set(target.blocks);
  if (target.blocks.length === 0) return ['the function has no blocks'];
  if (target.blocks[0].predecessors.length > 0) problems.push(`the entry b${target.blocks[0].id} has predecessors`);
  const edges = new Map<Block, Block[]>();
  for (const block of target.blocks) {
    if (block.terminator === null) problems.push(`b${block.id} has no end`);
    for (const successor of successorsOf(block)) {
      if (!blocks.has(successor)) problems.push(`b${block.id} leads to b${successor.id}, which is not in the function`);
      edges.set(successor, [...(edges.get(successor) ?? []), block]);
    }
  }
  for (const block of target.blocks) {
    const names = (list: readonly Block[]): string =>
      list
        .map(({ id }) => `b${id}`)
        .sort()
        .join(', ');
    const [listed, real] = [names(block.predecessors), names(edges.get(block) ?? [])];
    if (listed !== real)
      problems.push(`b${block.id} names the predecessors (${listed}), but edges come from (${real})`);
    for (const phi of block.phis) {
      if (phi.block !== block) problems.push(`v${phi.id} stands in b${block.id} and names b${phi.block.id}`);
      if (phi.inputs.length === block.predecessors.length) continue;
      problems.push(`v${phi.id} has ${phi.inputs.length} inputs for ${block.predecessors.length} predecessors`);
    }
  }
  return problems;
}

function valuesOf(block: Block): Value[] {
  return [...block.phis, ...block.operations];
}

function checkDefinitions(target: IrFunction): string[] {
  const problems: string[] = [];
  const seen = new Map<number, Value>();
  for (const value of [...target.parameters, ...target.blocks.flatMap(valuesOf)]) {
    if (seen.has(value.id)) problems.push(`v${value.id} is defined twice`);
    if (value.id >= target.nextId) problems.push(`v${value.id} is not below the next id ${target.nextId}`);
    seen.set(value.id, value);
  }
  return problems;
}

function checkUses(target: IrFunction): string[] {
  const problems: string[] = [];
  const tree = new DominatorTree(target);
  const places = new Map<Value, { readonly block: Block; readonly position: number }>();
  for (const block of target.blocks) {
    for (const phi of block.phis) places.set(phi, { block, position: -1 });
    for (const [position, value] of block.operations.entries()) places.set(value, { block, position });
  }
  const parameters = new Set<Value>(target.parameters);
  const check = (user: string, operand: Value, block: Block, position: number): void => {
    if (parameters.has(operand)) return;
    const place = places.get(operand);
    if (place === undefined) {
      problems.push(`${user} reads v${operand.id}, which is not in the function`);
    } else if (place.block === block ? place.position >= position : !tree.dominates(place.block, block)) {
      problems.push(`${user} reads v${operand.id}, which is not computed on every way there`);
    }
  };
  const checkPhi = (phi: Phi, block: Block): void => {
    for (const [index, input] of phi.inputs.entries()) {
      const from = block.predecessors[index];
      if (tree.isReachable(from)) check(printValue(phi), input, from, Number.POSITIVE_INFINITY);
    }
  };
  for (const block of target.blocks) {
    if (!tree.isReachable(block)) continue;
    for (const phi of block.phis) checkPhi(phi, block);
    for (const [position, value] of block.operations.entries()) {
      for (const operand of operandsOf(value)) check(printValue(value), operand, block, position);
    }
    if (block.terminator === null) continue;
    for (const operand of terminatorOperands(block.terminator)) {
      check(`the end of b${block.id}`, operand, block, Number.POSITIVE_INFINITY);
    }
  }
  return problems;
}

function checkOperations(target: IrFunction): string[] {
  const slots = new Set(target.slots);
  return target.blocks.flatMap(valuesOf).flatMap((value) => {
    const problem = problemOf(value);
    if (problem !== null) return [`${printValue(value)}: ${problem}`];
    const isForeign = value.kind === 'stackAddress' && !slots.has(value.slot);
    return isForeign ? [`${printValue(value)}: the slot is not the function's`] : [];
  });
}

function problemOf(value: Value): string | null {
  switch (value.kind) {
    case 'constant':
      return value.value === BigInt.asIntN(64, value.value) ? null : 'does not fit in 64 bits';
    case 'unary':
      return value.operator === 'neg' && value.width < 4 ? 'there is no negation of fewer than 32 bits' : null;
    case 'call':
      return value.arguments.length > ARGUMENTS_MAX ? `more than ${ARGUMENTS_MAX} arguments` : null;
    case 'atomic': {
      const isExpected = value.operator === 'compareExchange';
      return isExpected === (value.expected !== null)
        ? null
        : 'what is expected belongs to compareExchange, and only there';
    }
    case 'binary':
      return value.bits === 32 && value.space !== 'scalar' ? 'an address is not computed in 32 bits' : null;
    case 'store':
      return operandsOf(value).some(({ kind }) => kind === 'store') ? 'reads a store, which has no value' : null;
    default:
      return null;
  }
}
