/**
 * Test support for the optimiser: builds a small function, runs the passes, and gives the result as lines without numbers and names, so
 * that a test can say what is left of it.
 */
import { Builder } from '../../src/bpf/compiler/builder.ts';
import { checkFunction } from '../../src/bpf/compiler/check.ts';
import type { CallTarget, Space, Value } from '../../src/bpf/compiler/ir.ts';
import { optimise } from '../../src/bpf/compiler/passes/index.ts';
import { printFunction } from '../../src/bpf/compiler/print.ts';
import { U64, VOID } from '../../src/bpf/types.ts';

/** A helper by its number and name. */
export const helper = (id: number, name: string): CallTarget => ({ kind: 'helper', id, name });
export const lookup = helper(1, 'bpf_map_lookup_elem');
export const random = helper(7, 'bpf_get_prandom_u32');

/** What `write` builds with parameters of the given spaces, optimised, one line for each operation, numbers of values left out. */
export function optimisedLines(
  spaces: readonly Space[],
  write: (builder: Builder, ...parameters: Value[]) => void,
): string[] {
  const parameters = spaces.map((_, index) => ({ name: `p${index}`, type: VOID }));
  const builder = new Builder({
    name: 'sample',
    signature: { parameters, result: U64 },
    linkage: 'global',
    location: null,
    spaces,
  });
  write(builder, ...builder.function.parameters);
  const irFunction = builder.finish();
  optimise({ files: [], functions: [irFunction] }, (changed, pass) => {
    const [problem] = checkFunction(changed);
    if (problem !== undefined) throw new Error(`after ${pass}: ${problem}`);
  });
  const lines = printFunction(irFunction).split('\n').slice(1);
  return lines
    .map((line) => line.trim().replace(/^v\d+(?: \([^)]*\))? = /, ''))
    .filter((line) => line !== '' && !/^(?:-?\d+|b\d+:.*|slot\d+: \d+ bytes.*|slot\d+: stack|map .*)$/.test(line))
    .map((line) => line.replace(/\bv\d+\b/g, 'v').replace(/\bb\d+\b/g, 'b'));
}

/** The same for an expression of scalars that the function returns. */
export function optimisedValue(write: (builder: Builder, ...values: Value[]) => Value, values = 2): string[] {
  const spaces = Array.from({ length: values }, (): Space => 'scalar');
  return optimisedLines(spaces, (builder, ...parameters) => builder.return(write(builder, ...parameters)));
}
