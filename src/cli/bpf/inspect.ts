/**
 * Room `cli`: `millrace bpf inspect`: an object for people: each program's instructions below the source lines that they come from,
 * maps, global variables, types.
 *
 * A newcomer would get wrong: positions are the verifier's, which count slots: a wide load takes two. So numbers here can be looked up
 * in a verifier log.
 */
import { disassembleOne } from '../../bpf/disassembler.ts';
import { slotsOf } from '../../bpf/instructions.ts';
import type { FunctionSpec, LineInfo, MapSpec, ObjectSpec, Relocation } from '../../bpf/object/spec.ts';
import { type CommonOptions, guarded, readObject, say, table, UsageError } from './report.ts';

export interface InspectOptions extends CommonOptions {
  readonly program?: string;
  readonly btf?: boolean;
  readonly optimise?: boolean;
}

function noteOf(relocation: Relocation | undefined): string {
  if (relocation === undefined) return '';
  const { kind, symbol, addend } = relocation;
  return `  ; ${kind} ${symbol}${addend === 0 ? '' : `+${addend}`}`;
}

/** The first of the lines that an instruction's record names, once for each run of instructions. */
function sourceLine(line: LineInfo | undefined): string | null {
  if (line === undefined) return null;
  return `  ${line.file.slice(line.file.lastIndexOf('/') + 1)}:${line.line}: ${line.text.trim()}`;
}

/** Instructions with their slots, below the source lines. */
function listing(one: FunctionSpec): string {
  const lines = new Map(one.lines.map((line) => [line.index, line]));
  const relocations = new Map(one.relocations.map((relocation) => [relocation.index, relocation]));
  const kernel = new Map(one.core.map((record) => [record.index, record]));
  const text: string[] = [];
  let slot = 0;
  let shown = '';
  for (const [index, instruction] of one.instructions.entries()) {
    const source = sourceLine(lines.get(index));
    if (source !== null && source !== shown) {
      text.push(source);
      shown = source;
    }
    const core = kernel.get(index);
    const relocated = core === undefined ? '' : `  ; relocated ${core.access}`;
    text.push(
      `${String(slot).padStart(6)}  ${disassembleOne(instruction)}${noteOf(relocations.get(index))}${relocated}`,
    );
    slot += slotsOf(instruction);
  }
  return text.join('\n');
}

function describeMap({ name, type, keyBytes, valueBytes, maxEntries, flags, pinByName }: MapSpec): readonly string[] {
  return [
    `  ${name}`,
    type,
    `key ${keyBytes} B`,
    `value ${valueBytes} B`,
    `${maxEntries} entries`,
    `${flags === 0 ? '' : `flags 0x${flags.toString(16)}`}${pinByName ? ' pinned by name' : ''}`,
  ];
}

function describe(spec: ObjectSpec, functions: readonly FunctionSpec[], options: InspectOptions): string {
  const parts = functions.map((one) => {
    const slots = one.instructions.reduce((sum, instruction) => sum + slotsOf(instruction), 0);
    const what = one.kind === null ? `${one.linkage} function` : `program, section ${one.kind.section}`;
    return `${one.name}: ${what}, ${slots} instructions\n${listing(one)}`;
  });
  if (options.program === undefined) {
    if (spec.maps.length > 0) parts.push(`maps\n${table(spec.maps.map(describeMap))}`);
    const variables = spec.data.flatMap(({ name, variables: inside }) =>
      inside.map((one) => [`  ${one.name}`, name, `${one.bytes} B at ${one.offset}`]),
    );
    if (variables.length > 0) parts.push(`variables\n${table(variables)}`);
    parts.push(`licence ${spec.license}`);
  }
  return parts.join('\n\n');
}

function asJson(spec: ObjectSpec, functions: readonly FunctionSpec[]): Readonly<Record<string, unknown>> {
  return {
    license: spec.license,
    functions: functions.map(({ name, kind, linkage, instructions, relocations, lines }) => ({
      name,
      section: kind?.section ?? null,
      type: kind?.type ?? null,
      linkage,
      instructions: instructions.map(disassembleOne),
      relocations,
      lines,
    })),
    maps: spec.maps.map(({ name, type, keyBytes, valueBytes, maxEntries, flags, pinByName }) => ({
      name,
      type,
      keyBytes,
      valueBytes,
      maxEntries,
      flags,
      pinByName,
    })),
    variables: spec.data.flatMap(({ name: section, variables }) =>
      variables.map(({ name, offset, bytes }) => ({ name, section, offset, bytes })),
    ),
  };
}

export async function inspect(file: string, options: InspectOptions): Promise<void> {
  await guarded(options, async () => {
    const spec = await readObject(file, options);
    const functions = spec.functions.filter(({ name }) => options.program === undefined || name === options.program);
    if (functions.length === 0) {
      const known = spec.functions.map(({ name }) => name).join(', ');
      throw new UsageError(`${file} has no function ${options.program}; it has ${known}`);
    }
    const text = describe(spec, functions, options);
    if (options.json === true || options.btf !== true) {
      say(options, text, asJson(spec, functions));
      return;
    }
    const { describeTypes } = await import('./describe-types.ts');
    say(options, `${text}\n\ntypes\n${spec.btf === null ? '  none' : describeTypes(spec.btf)}`, {});
  });
}
