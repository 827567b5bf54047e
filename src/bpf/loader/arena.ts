/**
 * Room `bpf`: the memory of an arena (Linux 6.9), shared with the programs. Pages appear when they are touched, from either side.
 *
 * A newcomer would get wrong: a program that uses the arena can only be loaded once it is mapped, because pointers in it are addresses of
 * user space; and the kernel lets it be mapped at one address only, so that all who have the same map share one mapping.
 */
import { MAP_FIXED_NOREPLACE, MAP_SHARED, PROT_READ, PROT_WRITE } from '../../kernel/constants.ts';
import { ERRNO } from '../../kernel/errno.ts';
import { shim } from '../../kernel/native.ts';
import { addressOf } from '../../kernel/syscall.ts';
import { ArenaMemory } from './arena-memory.ts';
import { bpfError } from './bpf.ts';

const PAGE_BYTES = 4096;

interface ArenaMap {
  readonly descriptor: number;
  readonly spec: { readonly type: string; readonly maxEntries: number; readonly extra?: bigint };
}

/** What to do about the errors that are an arena's own (kernel/bpf/arena.c; mmap(2)). */
const remedies: ReadonlyMap<number, string> = new Map([
  [
    // arena_get_unmapped_area.
    -ERRNO.EINVAL,
    'it is mapped at another address already; an arena that processes share needs an address: arena({ address: … })',
  ],
  [-ERRNO.EEXIST, 'something lies at its address in this process; choose another address for it'],
]);

/** Maps an arena's pages, its entries, where the map says or where there is room. */
function mapPages({ descriptor, spec }: ArenaMap): ArrayBuffer {
  const { maxEntries, extra = 0n } = spec;
  const flags = extra === 0n ? MAP_SHARED : MAP_SHARED | MAP_FIXED_NOREPLACE;
  const length = maxEntries * PAGE_BYTES;
  const memory = shim.map(length, PROT_READ | PROT_WRITE, flags, descriptor, 0, Number(extra));
  if (typeof memory === 'number') throw bpfError(memory, 'mapping of an arena', remedies.get(memory));
  return memory;
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
    const { type } = map.spec;
    if (type !== 'arena') throw new TypeError(`the map is of type ${type}: an arena is needed`);
    const known = mapped.get(map);
    const memory = known?.memory ?? mapPages(map);
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
