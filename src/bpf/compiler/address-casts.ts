/**
 * Room `bpf`: puts the casts in front of the accesses to an arena, when a function's blocks are complete: until then an address into it is
 * what user space has, in variables as in memory.
 *
 * A newcomer would get wrong: where a variable leads may be known only after it was read (`let next: Node | null = null` before a loop), so
 * it is asked of the variable, not of the value that was read.
 */
import type { AddressCast, IrFunction, Operation, Phi, Space, Value } from './ir.ts';

/** Casts the address of each load, store and atomic step in the arena. `spaceOf`: where the variable leads that a phi was made for. */
export function castAddresses(target: IrFunction, spaceOf: (phi: Phi) => Space): void {
  const isOfArena = ({ space }: Value): boolean => space === 'arena';
  const hasSome =
    target.parameters.some(isOfArena) ||
    target.blocks.some(({ phis, operations }) => phis.some(isOfArena) || operations.some(isOfArena));
  if (!hasSome) return;
  const leads = new Map<Value, boolean>();
  const leadsThere = (value: Value): boolean => {
    const known = leads.get(value);
    if (known !== undefined) return known;
    leads.set(value, false);
    const space = value.kind === 'phi' ? spaceOf(value) : value.space;
    // What was computed of a pointer whose variable was not known to lead there.
    const isPart = space === 'scalar' && value.kind === 'binary' && leadsThere(value.left);
    const found = space === 'arena' || isPart;
    leads.set(value, found);
    return found;
  };
  for (const block of target.blocks) {
    block.operations = block.operations.flatMap((operation): Operation[] => {
      const { kind } = operation;
      if ((kind !== 'load' && kind !== 'store' && kind !== 'atomic') || !leadsThere(operation.address))
        return [operation];
      const cast = castOf(target, operation.address, operation);
      operation.address = cast;
      return [cast, operation];
    });
  }
}

function castOf(target: IrFunction, operand: Value, { location }: Operation): AddressCast {
  return {
    id: target.nextId++,
    location,
    space: 'arena',
    name: operand.name,
    kind: 'addressCast',
    to: 'kernel',
    operand,
  };
}
