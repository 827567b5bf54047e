/**
 * Room `bpf`: how helpers of the VM are written down: by the kernel's name, from which their number comes.
 *
 * A newcomer would get wrong: the count is of the arguments that the helper reads; registers beyond it need not hold
 * anything.
 */
import { HELPERS, type HelperName } from '../../kernel/bpf-helpers.ts';
import type { Helper, HelperCall } from './helper-call.ts';

/** What helpers are given as: how many arguments each reads, and what it does. */
export type HelperTable = {
  readonly [N in HelperName]?: readonly [arguments: number, run: (call: HelperCall) => void];
};

/** Helpers by number. */
export function numbered(...tables: readonly HelperTable[]): Map<number, Helper> {
  const found = new Map<number, Helper>();
  for (const table of tables) {
    for (const [name, [count, run]] of Object.entries(table)) {
      found.set(HELPERS[name as HelperName], { name, arguments: count, run });
    }
  }
  return found;
}
