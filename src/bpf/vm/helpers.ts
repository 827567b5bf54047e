/**
 * Room `bpf`: helpers that every kind of program has (bpf-helpers(7)), for the VM. Each does to maps and memory what
 * the kernel's does; time, chance and the CPU are what a test says they are.
 *
 * A newcomer would get wrong: a helper's name here is the kernel's without bpf_, and its number comes from the name.
 */
import type { Helper } from './helper-call.ts';
import { numbered } from './helper-table.ts';
import { basicHelpers } from './helpers-basic.ts';
import { mapHelpers } from './helpers-map.ts';

import { textHelpers } from './helpers-text.ts';
import type { World } from './world.ts';

export type { World } from './world.ts';

/** The helpers, by number, in a world. */
export function helpersIn(world: World): Map<number, Helper> {
  return numbered(basicHelpers(world), mapHelpers(world), textHelpers(world));
}

/** The helpers in the process's own world. */
export const commonHelpers: ReadonlyMap<number, Helper> = helpersIn({});
