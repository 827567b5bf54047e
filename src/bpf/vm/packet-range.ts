/**
 * Room `bpf`: what a program has shown of a packet's length. The verifier lets a program access a packet only as far as
 * it has compared a pointer with data_end (find_good_pkt_pointers in kernel/bpf/verifier.c); the VM keeps the same
 * account for the path it runs.
 *
 * A newcomer would get wrong: an access within the packet is still a fault where the comparison is missing. The next
 * packet may be shorter, and the verifier would not have let the program in.
 */
import { type AddressSpace, REGION_HIGH, REGION_START } from './memory.ts';

/** No pointer has this high word. */
export const NO_PACKET = 0x5fffffff;

/**
 * Both registers were compared as unsigned 64-bit numbers: `file[a] < file[b]` is `isBelow`. The other comparisons are forms of
 * this one, so it is all the machine has to report.
 */
export function learnRange(space: AddressSpace, file: Int32Array, a: number, b: number, isBelow: boolean): void {
  if (file[a + 1] !== file[b + 1]) return;
  const region = space.regions[file[a + 1] - REGION_HIGH];
  const left = (file[a] >>> 0) - REGION_START;
  const right = (file[b] >>> 0) - REGION_START;
  // A pointer below the end: the byte it points to is there as well.
  let known = 0;
  if (isBelow && isEnd(region, right)) known = left + 1;
  else if (!isBelow && isEnd(region, left)) known = right;
  if (known > region.length && known <= region.size) region.length = known;
}

/** Whether an offset is the packet's end, or, for what lies before the packet (xdp_md.data_meta), its beginning. */
function isEnd(region: { readonly size: number; readonly metadata: number }, at: number): boolean {
  return at === region.size || (at === region.metadata && at !== 0);
}
