/**
 * Room `bpf`: IR as text, for people and for tests. One line for each operation, `v7 = add64 v3, v5`.
 *
 * A newcomer would get wrong: nothing reads it back. It may change at any time.
 */
import type { Block, CoreRelocation, IrFunction, Terminator, Value } from './ir.ts';

/** A function as text. */
export function printFunction(target: IrFunction): string {
  const parameters = target.parameters.map((parameter) => `v${parameter.id}: ${parameter.space}`).join(', ');
  const lines = [`${target.linkage} function ${target.name}(${parameters})`];
  for (const { id, bytes, alignment, name } of target.slots) {
    lines.push(`  slot${id}: ${bytes} bytes at ${alignment} (${name})`);
  }
  for (const block of target.blocks) {
    lines.push(blockHeading(block));
    for (const phi of block.phis) lines.push(`  ${printValue(phi)}`);
    for (const operation of block.operations) lines.push(`  ${printValue(operation)}`);
    lines.push(`  ${printEnd(block.terminator)}`);
  }
  return `${lines.join('\n')}\n`;
}

function blockHeading({ id, predecessors }: Block): string {
  return `b${id}:${predecessors.length === 0 ? '' : ` from ${predecessors.map((from) => `b${from.id}`).join(', ')}`}`;
}

const use = (value: Value): string => (value.kind === 'constant' ? `${value.value}` : `v${value.id}`);

const uses = (values: readonly Value[]): string => values.map(use).join(', ');

function place(address: Value, offset: number, relocation: CoreRelocation | null = null): string {
  const sign = offset < 0 ? '-' : '+';
  const field = relocation === null ? '' : ` (${[relocation.struct.name, ...relocation.path].join('.')})`;
  return `[${use(address)}${offset === 0 ? '' : ` ${sign} ${Math.abs(offset)}`}]${field}`;
}

/** A value with what makes it. */
export function printValue(value: Value): string {
  const left = `v${value.id}${value.name === undefined ? '' : ` (${value.name})`}`;
  const right = describe(value);
  return value.kind === 'store' ? right : `${left} = ${right}${value.space === 'scalar' ? '' : `: ${value.space}`}`;
}

function describe(value: Value): string {
  switch (value.kind) {
    case 'constant':
      return `${value.value}`;
    case 'parameter':
      return `parameter ${value.index}`;
    case 'binary':
      return `${value.operator}${value.bits} ${use(value.left)}, ${use(value.right)}`;
    case 'unary':
      return `${value.operator}${value.width * 8} ${use(value.operand)}`;
    case 'compare':
      return `${value.condition}${value.bits} ${use(value.left)}, ${use(value.right)}`;
    case 'load': {
      const { width, signed, volatile, address, offset, relocation } = value;
      const name = `${volatile ? 'volatile ' : ''}load${signed ? ' signed' : ''} ${width}`;
      return `${name} ${place(address, offset, relocation)}`;
    }
    case 'store': {
      const { width, volatile, address, offset, relocation } = value;
      return `${volatile ? 'volatile ' : ''}store ${width} ${place(address, offset, relocation)} = ${use(value.value)}`;
    }
    case 'atomic': {
      const { operator, width, fetch, address, offset, expected } = value;
      const name = `atomic ${fetch ? 'fetch ' : ''}${operator} ${width} ${place(address, offset)}`;
      return `${name}, ${use(value.value)}${expected === null ? '' : ` where ${use(expected)}`}`;
    }
    case 'stackAddress':
      return `slot${value.slot.id}`;
    case 'mapAddress':
      return `map ${value.map}`;
    case 'dataAddress':
      return `data ${value.section} ${value.symbol} + ${value.offset}`;
    case 'functionAddress':
      return `function ${value.function}`;
    case 'relocated':
      return `relocated ${value.value} (${[value.relocation.kind, value.relocation.struct.name, ...value.relocation.path].join(' ')})`;
    case 'addressCast':
      return `cast ${use(value.operand)} to ${value.to}`;
    case 'call':
      return `call ${value.target.kind} ${value.target.name}(${uses(value.arguments)})${value.pure ? ' pure' : ''}`;
    case 'phi':
      return `phi ${uses(value.inputs)}`;
  }
}

function printEnd(end: Terminator | null): string {
  if (end === null) return 'no end';
  if (end.kind === 'jump') return `jump b${end.target.id}`;
  if (end.kind === 'return') return end.value === null ? 'return' : `return ${use(end.value)}`;
  const { condition, bits, left, right, whenTrue, whenFalse } = end;
  return `branch ${condition}${bits} ${use(left)}, ${use(right)}: b${whenTrue.id}, b${whenFalse.id}`;
}
