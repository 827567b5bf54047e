/**
 * Room `bpf`: from a slot of a linked program back to the source, for the verifier's messages.
 *
 * A newcomer would get wrong: lines and names are noted where they change; what holds at an instruction is the last note before it, and
 * none of another function.
 */
import type { Unresolved } from '../object/core.ts';
import { type LinkedProgram, slotsBefore } from '../object/link.ts';
import type { ProgramSource, SourcePosition } from './verifier.ts';

/** The last entry of a rising list whose `index` is from `from` to `index`. */
function lastBetween<T extends { readonly index: number }>(
  entries: readonly T[],
  from: number,
  index: number,
): T | null {
  const found = entries.findLast((one) => one.index <= index);
  return found === undefined || found.index < from ? null : found;
}

/** From slots back to the source. `unresolved` is what CO-RE found nothing for. */
export function sourceOf(program: LinkedProgram, unresolved: readonly Unresolved[] = []): ProgramSource {
  const slots = slotsBefore(program.instructions);
  const starts = program.functions.map(({ index }) => index);
  return {
    missing(helper): string | null {
      const found = unresolved.find((one) => one.helper === helper);
      return found === undefined ? null : `${found.what} is used, but ${found.reason}`;
    },
    at(slot): SourcePosition | null {
      const index = slots.findLastIndex((one) => one <= slot);
      const begin = starts.findLast((one) => one <= index) ?? 0;
      const line = lastBetween(program.lines, begin, index);
      if (line === null) return null;
      const names = lastBetween(program.registerNames, begin, index)?.names ?? [];
      return { file: line.file, line: line.line, column: line.column, text: line.text, names };
    },
  };
}
