/**
 * Room `bpf`: the memory of an arena (Linux 6.9), shared with the programs. Pages appear when they are touched, from either side.
 *
 * A newcomer would get wrong: a program that uses the arena can only be loaded once it is mapped, because pointers in it are addresses of
 * user space; and the kernel lets it be mapped at one address only, so that all who have the same map share one mapping.
 */

import { shim } from '../../kernel/native.ts';
import { addressOf } from '../../kernel/syscall.ts';
import { ArenaMemory } from './arena-memory.ts';
import { mapMemory } from './mapped-array.ts';

const PAGE_BYTES = 4096;

interface ArenaMap {
  readonly descriptor: number;
  readonly spec: { readonly type: string; readonly maxEntries: number };
}

/** Mappings in use, by the handle of their map. */
const mapped = new WeakMap<ArenaMap, { readonly memory: ArrayBuffer; users: number }>();

/** An arena that is mapped. Disposing of the last one of a map unmaps it; `view` is detached then. */
export class MappedArena extends ArenaMemory implements Disposable {
  readonly #map: ArenaMap;
  #isDisposed = false;

  private constructor(map: ArenaMap, memory: ArrayBuffer) {
    const view = new DataView(memory);
    super(view, BigInt(addressOf(view)));
    this.#map = map;
  }

  /** Maps an arena, or shares the mapping that there is. @throws TypeError for another map, KernelError where it cannot be mapped */
  static of(map: ArenaMap): MappedArena {
    const { type, maxEntries } = map.spec;
    if (type !== 'arena') throw new TypeError(`the map is of type ${type}: an arena is needed`);
    const known = mapped.get(map);
    // An arena's entries are pages.
    const memory = known?.memory ?? mapMemory(map.descriptor, maxEntries * PAGE_BYTES, true, 'an arena');
    mapped.set(map, { memory, users: (known?.users ?? 0) + 1 });
    return new MappedArena(map, memory);
  }

  [Symbol.dispose](): void {
    const known = mapped.get(this.#map);
    if (this.#isDisposed || known === undefined) return;
    this.#isDisposed = true;
    known.users--;
    if (known.users > 0) return;
    mapped.delete(this.#map);
    shim.unmap(known.memory);
  }
}
