/**
 * A list that lives in memory which programs and user space share: built by a program, followed by both.
 *
 * A newcomer would get wrong: pages are allocated by programs that may sleep. Others use what is there.
 */
import {
  arena,
  array,
  atomicAdd,
  global,
  pointer,
  range,
  type StructLayout,
  struct,
  syscall,
  u32,
  u64,
  XDP_DROP,
  XDP_PASS,
  xdp,
} from '../../../src/bpf/index.ts';

export interface Node {
  value: u64;
  next: Node | null;
}
export const Node: StructLayout<Node> = struct({ value: u64, next: pointer(() => Node) });
const Block = struct({ used: u32, nodes: array(Node, 255) });

export const pages = arena({ maxEntries: 4 });
export const head = global(pointer<Node | null>(() => Node));
export const count = global(u32);
export const failures = global(u32);
export const sum = global(u64);

/** Builds a list of the numbers 10, 20 … in one page. */
export const build = syscall(() => {
  const block = pages.allocate(Block);
  if (block === null) {
    failures.value += 1;
    return 1;
  }
  let next: Node | null = null;
  for (const i of range(5)) {
    const node = block.nodes[i];
    node.value = u64(i + 1) * 10n;
    node.next = next;
    next = node;
  }
  block.used = 5;
  head.value = next;
  return 0;
});

/** Gives back the page that the list lies in. */
export const release = syscall(() => {
  const node = head.value;
  if (node === null) return 1;
  pages.free(node);
  head.value = null;
  return 0;
});

/** Adds up what is in the list. */
export const add = xdp(() => {
  let node = head.value;
  let total: u64 = 0n;
  let length: u32 = 0;
  for (const _ of range(100)) {
    if (node === null) break;
    total += node.value;
    atomicAdd(node, 'value', 1n);
    length += 1;
    node = node.next;
  }
  sum.value = total;
  count.value = length;
  return length > 0 ? XDP_PASS : XDP_DROP;
});
