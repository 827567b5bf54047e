/**
 * Test support: another process that uses an arena which is pinned: `node bpf-arena-child.ts DIRECTORY ADDRESS` prints the number that
 * lies at the address, as a program of its own sees it, and doubles it.
 */
import { compileText } from '../../src/bpf/compiler/compile.ts';
import { u64 } from '../../src/bpf/index.ts';
import { loadObject } from '../../src/bpf/loader/collection.ts';
import { moduleOf } from './bpf-compiler.ts';

/** A module whose arena processes share. */
export const shared = compileText(
  moduleOf(`
    export const shared = arena({ maxEntries: 2, address: 0x1000_0000_2000n, pin: 'byName' });
    export const place = global(u64);
    export const seen = global(u64);
    export const put = syscall(() => {
      const number = shared.allocate(u64);
      if (number === null) return 1;
      number.value = 21n;
      place.value = shared.addressOf(number);
      return 0;
    });
    export const look = syscall(() => {
      const number = shared.at(u64, place.value);
      if (number === null) return 1;
      seen.value = number.value;
      return 0;
    });`),
  'shared.bpf.ts',
);

if (import.meta.main) {
  const [directory, address] = process.argv.slice(2);
  using object = loadObject(shared, { pinDirectory: directory });
  object.globals.place.value = BigInt(address);
  object.programs.look.testRun({});
  object.arenas.shared.write(u64, BigInt(address), 2n * (object.globals.seen.value as bigint));
  process.stdout.write(`${object.globals.seen.value}`);
}
