/**
 * Room `bpf`: from a program's declaration to its function: what its body is given, and what it may return.
 *
 * A newcomer would get wrong: the kernel passes one pointer, the context, whatever the body's parameters are. For hooks that pass the
 * arguments of a kernel function the context is an array of 64-bit numbers, and each parameter is read from it at the beginning.
 */
import { I32, type Type, U64, VOID } from '../../types.ts';
import { Builder } from '../builder.ts';
import { refuse } from '../diagnostics.ts';
import type { Value } from '../ir.ts';
import { convert, operandOf } from './arithmetic.ts';
import type { ProgramEntity } from './entities.ts';
import { Frame, type Rules } from './frame.ts';
import { bindParameter, lowerBody, pointerType, returnAll } from './functions.ts';
import { adviceOnContext } from './kernel-hints.ts';
import { kernelPointer } from './memory.ts';
import { assignedIn } from './scan.ts';
import type { Parameter } from './syntax.ts';
import { annotated } from './types.ts';
import type { Unit } from './unit.ts';
import { usdtParameter } from './usdt.ts';
import { computed, describe, isScalarType, type Operand, pointerTo } from './values.ts';

/** Hooks whose programs may follow pointers into the kernel themselves; in others bpf_probe_read_kernel does it. */
const FOLLOWS_POINTERS: ReadonlySet<string> = new Set(['tracing', 'lsm', 'struct_ops']);

function contextType(program: ProgramEntity): Type {
  const { context } = program.definition;
  if (context.kind === 'struct') return context.struct.struct;
  return { kind: 'array', element: U64, length: context.kind === 'raw' ? context.length : 12 };
}

/** Hooks whose programs may write to what their arguments point to; the verifier says to which fields. */
const WRITES_ARGUMENTS: ReadonlySet<string> = new Set(['struct_ops']);

/** An argument of a kernel function, from the array of them. */
function readArgument(frame: Frame, program: ProgramEntity, parameter: Parameter, index: number): Operand {
  const context = frame.builder.function.parameters[0];
  const target = parameter.type === 'AssignmentPattern' ? parameter.left : parameter;
  const declared = annotated(frame.unit, frame.module, target);
  const type = declared?.type ?? null;
  const offset = index * 8;
  if (type === null || isScalarType(type)) {
    const raw = computed(U64, frame.builder.load(8, false, context, 'scalar', { offset }));
    return type === null ? raw : convert(frame.builder, raw, type);
  }
  const value = frame.builder.load(8, false, context, 'kernel', { offset });
  const hook = program.definition.type;
  return pointerTo(type, value, 'kernel', {
    ...kernelPointer(type, !FOLLOWS_POINTERS.has(hook)),
    writable: WRITES_ARGUMENTS.has(hook),
    nullable: declared?.nullable ?? false,
  });
}

/** An argument of a USDT probe. `bindParameter` converts it to what it is annotated with. */
function probeArgument(frame: Frame, parameter: Parameter, index: number): Operand {
  const target = parameter.type === 'AssignmentPattern' ? parameter.left : parameter;
  const type = annotated(frame.unit, frame.module, target)?.type ?? null;
  if (type === null || isScalarType(type)) return usdtParameter(frame, parameter, index);
  return refuse(
    parameter,
    'the arguments of a USDT probe are numbers',
    'annotate u64 and read what is there: bpf_probe_read_user',
  );
}

/** The context of a hook whose fields only the source, or the kernel's own types, know. */
function annotatedContext(frame: Frame, program: ProgramEntity, parameter: Parameter, address: Value): Operand {
  const { kind } = program.definition.context;
  const annotation = annotated(frame.unit, frame.module, parameter);
  const declared = annotation?.type ?? null;
  if (declared === null) {
    if (kind === 'raw') return pointerTo(contextType(program), address, 'context', { writable: false, boxed: false });
    // Helpers take it whatever its fields are.
    if (annotation === null) return pointerTo(VOID, address, 'context', { writable: false });
    refuse(parameter, 'this annotation does not say where the fields lie', adviceOnContext(frame, program));
  }
  const { core } = kernelPointer(declared, false);
  return pointerTo(declared, address, 'context', { core, writable: kind === 'raw' });
}

/** The registers, and behind them the arguments of a USDT probe. */
function bindWithArguments(frame: Frame, registers: Operand, first: Parameter, rest: readonly Parameter[]): void {
  bindParameter(frame, first, registers);
  for (const [index, parameter] of rest.entries()) {
    bindParameter(frame, parameter, probeArgument(frame, parameter, index));
  }
}

function bindContext(frame: Frame, program: ProgramEntity): void {
  const { context, name } = program.definition;
  const { params } = program.node;
  const [first, ...rest] = params;
  if (first === undefined) return;
  const address = frame.builder.function.parameters[0];
  const bind = (operand: Operand): void => {
    if (rest.length > 0) refuse(rest[0], `${name} passes one argument, the context`);
    bindParameter(frame, first, operand);
  };
  switch (context.kind) {
    case 'struct': {
      const operand = pointerTo(context.struct.struct, address, 'context', {
        writable: false,
        context: context.struct,
      });
      if (context.behind === undefined) bind(operand);
      else bindWithArguments(frame, operand, first, rest);
      break;
    }
    case 'raw':
    case 'registers':
    case 'tracepoint':
    case 'iterator':
      bind(annotatedContext(frame, program, first, address));
      break;
    default:
      for (const [index, parameter] of params.entries()) {
        bindParameter(frame, parameter, readArgument(frame, program, parameter, index));
      }
  }
}

function checkVerdict(program: ProgramEntity, node: Parameters<typeof refuse>[0], value: bigint): void {
  const { verdicts, name } = program.definition;
  if (verdicts === null || verdicts.includes(Number(value))) return;
  refuse(node, `${value} is no verdict of ${name} programs`, `they return ${verdicts.join(', ')}`);
}

/** Lowers a program's body to its function. */
export function lowerProgram(unit: Unit, program: ProgramEntity, rules: Rules): void {
  const { definition, node, module, name } = program;
  const builder = new Builder({
    name,
    linkage: 'global',
    location: unit.locate(node),
    spaces: ['context'],
    signature: { parameters: [{ name: 'context', type: pointerType(contextType(program)) }], result: I32 },
  });
  const frame = new Frame(unit, module, builder, rules, { program });
  frame.assigned = assignedIn(node);
  bindContext(frame, program);
  const exits = lowerBody(frame, node);
  returnAll(frame, exits, (operand, place) => {
    if (operand.kind === 'void') {
      if (definition.defaultResult === null && unit.errors.length === 0) {
        unit.attempt(() => refuse(place, `${name} may end without a result here`, 'return a verdict in every case'));
      }
      return builder.constant(definition.defaultResult ?? 0);
    }
    if (operand.kind !== 'scalar') return refuse(place, `${describe(operand)} is no verdict`, 'return a number');
    const isWide = definition.type === 'struct_ops' && operand.type.kind === 'integer' && operand.type.bytes === 8;
    const result = convert(builder, operand, isWide ? operand.type : I32);
    if (result.constant !== null) checkVerdict(program, place, result.constant);
    return operandOf(builder, result, 64);
  });
  unit.finishFunction(builder);
}
