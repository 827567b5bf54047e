/**
 * Room `bpf`: arguments of USDT probes: `usdtArgument(registers, 0)`, and the parameters behind the first of a `usdt` body.
 *
 * A newcomer would get wrong: the code is the same whatever the probe. One subprogram of the object looks up the row of the place that
 * was hit, and takes the argument from where that row says ({@link USDT_SITE}); the loader fills the rows when it attaches.
 */
import {
  USDT_ARGUMENT,
  USDT_ARGUMENTS_MAX,
  USDT_BASE,
  USDT_IN_MEMORY,
  USDT_INDEX,
  USDT_SIGNED,
  USDT_SITE,
  USDT_SITES,
  USDT_SITES_MAX,
} from '../../object/usdt-sites.ts';
import { fieldOf, type StructType, U32, U64 } from '../../types.ts';
import { Builder, type Variable } from '../builder.ts';
import { type Located, refuse } from '../diagnostics.ts';
import type { Block, Value, Width } from '../ir.ts';
import { convert, operandOf } from './arithmetic.ts';
import type { Frame } from './frame.ts';
import { pointerType } from './functions.ts';
import { argumentsOf, type Call, type Expression } from './syntax.ts';
import type { Unit } from './unit.ts';
import { computed, describe, type Operand } from './values.ts';

const MEMORY_HELPERS = ['bpf_probe_read_user', 'bpf_copy_from_user'] as const;
const NEEDED = ['bpf_get_attach_cookie', 'bpf_map_lookup_elem', 'bpf_probe_read_kernel', ...MEMORY_HELPERS] as const;

const prepared = new WeakSet<Unit>();

/** Puts the table into the object, once. */
function declareSites(unit: Unit, node: Located): void {
  if (prepared.has(unit)) return;
  prepared.add(unit);
  if (unit.maps.some(({ name }) => name === USDT_SITES)) {
    refuse(node, `the arguments of USDT probes need the map ${USDT_SITES}, and a map of the source has its name`);
  }
  unit.maps.push({
    name: USDT_SITES,
    type: 'array',
    keyBytes: 4,
    valueBytes: USDT_SITE.bytes,
    maxEntries: USDT_SITES_MAX,
    flags: 0,
    key: U32,
    value: USDT_SITE,
    keyTypeId: 0,
    valueTypeId: 0,
    pinByName: false,
    extra: 0n,
  });
}

/** Writes a function of the object without a source. */
class Writer {
  readonly builder: Builder;
  readonly #unit: Unit;

  constructor(unit: Unit, builder: Builder) {
    this.#unit = unit;
    this.builder = builder;
  }

  call(name: (typeof NEEDED)[number], values: readonly Value[], space: Value['space'] = 'scalar'): Value {
    const helper = this.#unit.catalogue.get(name);
    if (helper?.kind !== 'helper') throw new Error(`the library has no ${name}`);
    return this.builder.call({ kind: 'helper', id: helper.id, name }, values, space);
  }

  field(struct: StructType, name: string, address: Value): Value {
    const field = fieldOf(struct, name);
    if (field?.type.kind !== 'integer') throw new Error(`${struct.name}.${name} is no number`);
    return this.builder.load(field.type.bytes as Width, false, address, 'scalar', { offset: field.offset });
  }

  /** Goes on in a new block where the condition holds, at `otherwise` where not. */
  must(condition: 'ne' | 'ult' | 'test', left: Value, right: Value, otherwise: Block): void {
    const { builder } = this;
    const next = builder.block();
    builder.branch(condition, 64, left, right, next, otherwise);
    builder.seal(next);
    builder.enter(next);
  }

  /** The row of the place that was hit; `otherwise` where the attachment has none. */
  site(context: Value, otherwise: Block): Value {
    const { builder } = this;
    const key = builder.stackAddress(builder.slot(4, 4, 'key'));
    builder.store(4, key, this.call('bpf_get_attach_cookie', [context]));
    const site = this.call('bpf_map_lookup_elem', [builder.mapAddress(USDT_SITES), key], 'mapValue');
    this.must('ne', site, builder.constant(0), otherwise);
    return site;
  }

  /** A body that gives 0 from wherever it leads to `otherwise`. */
  body(write: (otherwise: Block) => void): void {
    const { builder } = this;
    const otherwise = builder.block();
    write(otherwise);
    builder.seal(otherwise);
    builder.enter(otherwise);
    builder.return(builder.constant(0));
  }
}

/** Adds a register to the sum where the argument has one. */
function addRegister(
  writer: Writer,
  parts: { sum: Variable; argument: Value; flags: Value; context: Value },
  flag: number,
): void {
  const { builder } = writer;
  const { sum, argument, flags, context } = parts;
  const end = builder.block();
  writer.must('test', flags, builder.constant(flag), end);
  const word = builder.stackAddress(builder.slot(8, 8, 'register'));
  builder.store(8, word, builder.constant(0));
  // The verifier wants constant offsets where a context is read directly; this read goes by address.
  const place = writer.field(USDT_ARGUMENT, flag === USDT_BASE ? 'base' : 'index', argument);
  const address = builder.binary('add', 64, context, place, 'context');
  writer.call('bpf_probe_read_kernel', [word, builder.constant(8), address]);
  const register = builder.load(8, false, word);
  const scaled =
    flag === USDT_BASE ? register : builder.binary('shl', 64, register, writer.field(USDT_ARGUMENT, 'scale', argument));
  builder.write(sum, builder.binary('add', 64, builder.read(sum), scaled));
  builder.jump(end);
  builder.seal(end);
  builder.enter(end);
}

/** Takes the value from the process's memory where it lies there. A page that is not in memory gives 0 unless the program may sleep. */
function readMemory(
  writer: Writer,
  parts: { sum: Variable; argument: Value; flags: Value; otherwise: Block },
  helper: (typeof MEMORY_HELPERS)[number],
): void {
  const { builder } = writer;
  const { sum, argument, flags, otherwise } = parts;
  const end = builder.block();
  writer.must('test', flags, builder.constant(USDT_IN_MEMORY), end);
  const word = builder.stackAddress(builder.slot(8, 8, 'word'));
  builder.store(8, word, builder.constant(0));
  const bytes = writer.field(USDT_ARGUMENT, 'bytes', argument);
  // For the verifier, which cannot know what the loader puts there.
  writer.must('ult', bytes, builder.constant(9), otherwise);
  writer.call(helper, [word, bytes, builder.read(sum)]);
  builder.write(sum, builder.load(8, false, word));
  builder.jump(end);
  builder.seal(end);
  builder.enter(end);
}

function writeArgument(writer: Writer, helper: (typeof MEMORY_HELPERS)[number]): void {
  const { builder } = writer;
  const [context, index] = builder.function.parameters;
  writer.body((otherwise) => {
    const site = writer.site(context, otherwise);
    writer.must('ult', index, writer.field(USDT_SITE, 'count', site), otherwise);
    writer.must('ult', index, builder.constant(USDT_ARGUMENTS_MAX), otherwise);
    const offset = builder.binary('mul', 64, index, builder.constant(USDT_ARGUMENT.bytes));
    const first = fieldOf(USDT_SITE, 'arguments')?.offset ?? 0;
    const begin = builder.binary('add', 64, site, builder.constant(first), 'mapValue');
    const argument = builder.binary('add', 64, begin, offset, 'mapValue');
    const flags = writer.field(USDT_ARGUMENT, 'flags', argument);
    const sum: Variable = { name: 'sum', space: 'scalar' };
    builder.write(sum, writer.field(USDT_ARGUMENT, 'displacement', argument));
    addRegister(writer, { sum, argument, flags, context }, USDT_BASE);
    addRegister(writer, { sum, argument, flags, context }, USDT_INDEX);
    readMemory(writer, { sum, argument, flags, otherwise }, helper);
    const shift = writer.field(USDT_ARGUMENT, 'shift', argument);
    const high = builder.binary('shl', 64, builder.read(sum), shift);
    const unsigned = builder.block();
    writer.must('test', flags, builder.constant(USDT_SIGNED), unsigned);
    builder.return(builder.binary('ashr', 64, high, shift));
    builder.seal(unsigned);
    builder.enter(unsigned);
    builder.return(builder.binary('lshr', 64, high, shift));
  });
}

/** What is asked of the row. */
type Question = 'argument' | 'count' | 'cookie';

const functionNames = new WeakMap<Unit, Map<string, string>>();

/** The subprogram that answers, made when it is first needed. */
function functionFor(frame: Frame, node: Located, question: Question): string {
  const { unit, program } = frame;
  const isSleepable = question === 'argument' && program?.definition.name === 'usdtSleepable';
  const wanted = `usdt_${question}${isSleepable ? '_sleepable' : ''}`;
  const names = functionNames.get(unit) ?? new Map<string, string>();
  functionNames.set(unit, names);
  const known = names.get(wanted);
  if (known !== undefined) return known;
  declareSites(unit, node);
  const name = unit.uniqueName(wanted);
  names.set(wanted, name);
  const registers = unit.structNamed('pt_regs');
  if (registers === null) throw new Error('the library has no pt_regs');
  const context = { name: 'context', type: pointerType(registers) };
  const builder = new Builder({
    name,
    linkage: 'static',
    location: unit.locate(node),
    spaces: question === 'argument' ? ['context', 'scalar'] : ['context'],
    signature: {
      parameters: question === 'argument' ? [context, { name: 'index', type: U32 }] : [context],
      result: U64,
    },
  });
  builder.location = unit.locate(node);
  const writer = new Writer(unit, builder);
  if (question === 'argument') writeArgument(writer, MEMORY_HELPERS[isSleepable ? 1 : 0]);
  else {
    writer.body((otherwise) => {
      builder.return(writer.field(USDT_SITE, question, writer.site(builder.function.parameters[0], otherwise)));
    });
  }
  unit.finishFunction(builder);
  return name;
}

function ask(frame: Frame, node: Located, question: Question, values: readonly Value[]): Value {
  for (const helper of NEEDED) {
    const definition = frame.unit.catalogue.get(helper);
    if (definition?.kind === 'helper' && definition.gplOnly) frame.unit.requireGpl(node, helper);
  }
  const name = functionFor(frame, node, question);
  frame.at(node);
  // Nothing changes by asking, so what is not used is not read.
  return frame.builder.call({ kind: 'function', name }, values, 'scalar', true);
}

/** The argument at `index`, a parameter of the body. */
export function usdtParameter(frame: Frame, node: Located, index: number): Operand {
  if (index >= USDT_ARGUMENTS_MAX) refuse(node, `a USDT probe has at most ${USDT_ARGUMENTS_MAX} arguments`);
  const { builder } = frame;
  const [context] = builder.function.parameters;
  return computed(U64, ask(frame, node, 'argument', [context, builder.constant(index)]));
}

function contextOf(frame: Frame, node: Call, argument: Expression | undefined, name: string): Value {
  if (!frame.program?.definition.name.startsWith('usdt')) {
    refuse(node, `${name} is for usdt programs`, 'other programs read registers, or the kernel’s arguments');
  }
  const operand = argument === undefined ? null : frame.value(argument);
  if (operand?.kind !== 'pointer' || operand.space !== 'context') {
    refuse(argument ?? node, `${operand === null ? 'nothing' : describe(operand)} is not the program’s context`);
  }
  return frame.settle(operand);
}

/** `usdtArgument(registers, index)`. */
export function usdtArgument(frame: Frame, node: Call): Operand {
  const [contextNode, indexNode] = argumentsOf(node);
  const context = contextOf(frame, node, contextNode, 'usdtArgument');
  if (indexNode === undefined) refuse(node, 'which argument?', 'write usdtArgument(registers, 0) for the first');
  const index = convert(frame.builder, frame.scalar(indexNode), U32);
  if (index.low >= BigInt(USDT_ARGUMENTS_MAX)) {
    refuse(indexNode, `a USDT probe has at most ${USDT_ARGUMENTS_MAX} arguments`, 'they are counted from 0');
  }
  return computed(U64, ask(frame, node, 'argument', [context, operandOf(frame.builder, index, 64)]));
}

/** `usdtArgumentCount(registers)`. */
export function usdtArgumentCount(frame: Frame, node: Call): Operand {
  const context = contextOf(frame, node, argumentsOf(node)[0], 'usdtArgumentCount');
  return computed(U32, ask(frame, node, 'count', [context]));
}

/** `usdtCookie(registers)`. */
export function usdtCookie(frame: Frame, node: Call): Operand {
  const context = contextOf(frame, node, argumentsOf(node)[0], 'usdtCookie');
  return computed(U64, ask(frame, node, 'cookie', [context]));
}
