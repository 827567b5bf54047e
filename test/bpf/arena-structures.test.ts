/**
 * What programs keep in an arena, and how they get at it: copies, addresses as numbers, trees. In the kernel and in the VM, with the
 * optimiser and without.
 */
import assert from 'node:assert/strict';
import { pointer, type StructLayout, struct, u32 } from '../../src/bpf/index.ts';
import { everywhere, ofText } from '../support/bpf-arena.ts';

interface TreeNode {
  key: number;
  count: number;
  left: TreeNode | null;
  right: TreeNode | null;
}
const TreeNode: StructLayout<TreeNode> = struct({
  key: u32,
  count: u32,
  left: pointer(() => TreeNode),
  right: pointer(() => TreeNode),
});

everywhere(
  'an address is enough to find a place again, and its low half, too',
  ofText(`
    const Point = struct({ x: u32, y: i16, z: be16 });
    export const memory = arena({ maxEntries: 1 });
    export const seats = hash({ key: u32, value: struct({ low: u32, whole: u64 }), maxEntries: 1 });
    export const sum = global(i32);
    export const isSame = global(u32);
    export const put = syscall(() => {
      const point = memory.allocate(Point);
      if (point === null) return 1;
      point.x = 1;
      point.y = -2;
      point.z = 0x102;
      const address = memory.addressOf(point);
      seats.update(1, { low: u32(address), whole: address });
      return 0;
    });
    export const main = xdp(() => {
      const seat = seats.lookup(1);
      if (seat === null) return XDP_DROP;
      const one = memory.at(Point, seat.low);
      const other = memory.at(Point, seat.whole);
      if (one === null || other === null) return XDP_ABORTED;
      one.x += 5;
      sum.value = i32(other.x) + other.y + other.z;
      isSame.value = u32(memory.addressOf(one) === memory.addressOf(other));
      return memory.addressOf(null) === 0n && memory.at(Point, seat.whole - seat.whole) === null ? XDP_PASS : XDP_TX;
    });`),
  ({ globals, run }) => {
    assert.equal(run('put'), 0);
    assert.equal(run('main'), 2);
    assert.equal(globals.sum.value, 6 - 2 + 0x102);
    assert.equal(globals.isSame.value, 1);
  },
);

everywhere(
  'what lies in an arena is copied, given to helpers, and exchanged in atomic steps',
  ofText(`
    const Key = struct({ a: u32, b: u32 });
    const Entry = struct({ key: Key, lock: u32, count: u64, name: array(u8, 8), keys: array(Key, 4) });
    export const memory = arena({ maxEntries: 1 });
    export const table = hash({ key: Key, value: u64, maxEntries: 4 });
    export const out = global(array(u64, 4));
    export const main = syscall(() => {
      const entry = memory.allocate(Entry);
      if (entry === null) return 1;
      entry.key = local(Key, { a: 1, b: 2 });
      entry.keys[3] = entry.key;
      table.update(entry.keys[3], 77n);
      const found = table.lookup(entry.key);
      if (found === null) return 2;
      const before = atomicExchange(entry, 'lock', 1);
      const held = atomicCompareExchange(entry, 'lock', 1, 5);
      entry.count = found.value;
      const added = atomicAdd(entry, 'count', 3n);
      atomicOr(entry, 'count', 0x100n);
      entry.name[0] = 0x61;
      print(\`\${entry.name} has \${entry.count}\`);
      out.value[0] = added;
      out.value[1] = entry.count;
      out.value[2] = u64(before * 100 + held * 10 + entry.lock);
      memory.free(entry);
      return 0;
    });`),
  ({ globals, run }) => {
    assert.equal(run('main'), 0);
    assert.deepEqual(globals.out.value, [77n, 80n | 0x100n, 15n, 0n]);
  },
);

everywhere(
  'a pointer goes through subprograms, callbacks and structs on the stack',
  ofText(`
    interface Node { value: u64; left: Node | null; right: Node | null }
    const Node: StructLayout<Node> = struct({ value: u64, left: pointer(() => Node), right: pointer(() => Node) });
    const Walk = struct({ at: pointer(() => Node), sum: u64 });
    export const memory = arena({ maxEntries: 1 });
    export const root = global(pointer(() => Node));
    export const sum = global(u64);
    const child = subprogram((node: Node, left: boolean): Node | null => {
      if (left) return node.left;
      return node.right;
    });
    export const plant = syscall(() => {
      const nodes = memory.allocate(array(Node, 100));
      if (nodes === null) return 1;
      for (const i of range(7)) {
        nodes.value[i].value = u64(i);
        if (i > 0) {
          const parent = nodes.value[(i - 1) / 2];
          if (i % 2 === 1) parent.left = nodes.value[i];
          else parent.right = nodes.value[i];
        }
      }
      root.value = nodes.value[0];
      return 0;
    });
    export const main = xdp(() => {
      const walk = local(Walk);
      const first = root.value;
      if (first === null) return XDP_DROP;
      walk.at = first;
      bpf_loop(10, (_index, walk) => {
        const node = walk.at;
        if (node === null) return 1;
        walk.sum += node.value;
        walk.at = child(node, node.value === 0n);
        return 0;
      }, walk);
      sum.value = walk.sum;
      return XDP_PASS;
    });`),
  ({ globals, run }) => {
    assert.equal(run('plant'), 0);
    assert.equal(run('main'), 2);
    // 0, its left 1, whose right is 4.
    assert.equal(globals.sum.value, 5n);
  },
);

everywhere(
  'a program keeps a search tree, and user space finds every number in its order',
  ofText(`
    interface Node { key: u32; count: u32; left: Node | null; right: Node | null }
    const Node: StructLayout<Node> = struct({ key: u32, count: u32, left: pointer(() => Node), right: pointer(() => Node) });
    const Pool = struct({ used: u32, root: pointer(() => Node), nodes: array(Node, 500) });
    export const memory = arena({ maxEntries: 8 });
    export const pool = global(pointer(() => Pool));
    export const key = global(u32);
    export const seed = global(u32, 1);
    const next = (): u32 => {
      seed.value = seed.value * 1103515245 + 12345;
      return (seed.value >>> 16) & 0xff;
    };
    const place = subprogram((pool: Value<typeof Pool>, key: u32): i32 => {
      let parent: Node | null = null;
      let node: Node | null = pool.root;
      for (const _ of range(64)) {
        if (node === null) break;
        if (node.key === key) {
          node.count += 1;
          return 0;
        }
        parent = node;
        node = key < node.key ? node.left : node.right;
      }
      if (node !== null || pool.used >= 500) return -1;
      const made = pool.nodes[pool.used];
      pool.used += 1;
      made.key = key;
      made.count = 1;
      if (parent === null) pool.root = made;
      else if (key < parent.key) parent.left = made;
      else parent.right = made;
      return 0;
    });
    export const begin = syscall(() => {
      const made = memory.allocate(Pool);
      if (made === null) return 1;
      pool.value = made;
      return 0;
    });
    export const grow = syscall(() => {
      const all = pool.value;
      if (all === null) return 1;
      return place(all, next());
    });
    export const find = xdp(() => {
      let node = pool.value?.root ?? null;
      for (const _ of range(64)) {
        if (node === null || node.key === key.value) break;
        node = key.value < node.key ? node.left : node.right;
      }
      return node === null ? XDP_DROP : XDP_PASS;
    });`),
  ({ arena, globals, run }) => {
    assert.equal(run('begin'), 0);
    const expected = new Map<number, number>();
    for (let seed = 1, round = 0; round < 300; round++) {
      assert.equal(run('grow'), 0);
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      const key = (seed >>> 16) & 0xff;
      expected.set(key, (expected.get(key) ?? 0) + 1);
    }
    const root = arena.view.getBigUint64(arena.offsetOf(globals.pool.value as bigint) + 8, true);
    const found: [number, number][] = [];
    const walk = (node: TreeNode | null): void => {
      if (node === null) return;
      walk(node.left);
      found.push([node.key, node.count]);
      walk(node.right);
    };
    walk(arena.read(TreeNode, root));
    assert.deepEqual(
      found,
      [...expected].sort(([a], [b]) => a - b),
    );
    for (const key of [0, 1, 2, 100, 200, 255]) {
      globals.key.value = key;
      assert.equal(run('find'), expected.has(key) ? 2 : 1, `${key}`);
    }
  },
);

everywhere(
  'what is found in a loop is given back from it, whichever way',
  ofText(`
    interface Node { value: u64; next: Node | null }
    const Node: StructLayout<Node> = struct({ value: u64, next: pointer(() => Node) });
    export const memory = arena({ maxEntries: 1 });
    export const head = global(pointer(() => Node));
    export const sums = global(array(u64, 3));
    const note = subprogram((node: Node): i32 => {
      sums.value[2] += node.value;
      return 0;
    });
    const walk = (key: u64): Node | null => {
      let node: Node | null = null;
      for (const i of range(12)) {
        if (node !== null && node.value === key) return node;
        if (node !== null) note(node);
        node = i === 0 ? head.value : node === null ? null : node.next;
      }
      return node;
    };
    const find = subprogram((key: u64): Node | null => walk(key));
    export const main = syscall(() => {
      const nodes = memory.allocate(array(Node, 10));
      if (nodes === null) return 1;
      for (const i of range(9)) {
        nodes.value[i].value = u64(i);
        nodes.value[i].next = nodes.value[i + 1];
      }
      nodes.value[9].value = 9n;
      head.value = nodes.value[0];
      const first = walk(3n);
      const last = find(sums.value[0] + 9n);
      if (first === null || last === null) return 2;
      sums.value[0] = first.value;
      sums.value[1] = last.value;
      return walk(77n) === null && find(78n) === null ? 0 : 3;
    });`),
  ({ globals, run }) => {
    assert.equal(run('main'), 0);
    // 0 to 2 before 3 is found, 0 to 8 before 9, and all of them twice.
    assert.deepEqual(globals.sums.value, [3n, 9n, 3n + 36n + 2n * 45n]);
  },
);

everywhere(
  'pointers are compared, and kept in globals, maps and structs on the stack',
  ofText(`
    interface Node { value: u64; next: Node | null }
    const Node: StructLayout<Node> = struct({ value: u64, next: pointer(() => Node) });
    const Ring = struct({ first: pointer<Node | null>(() => Node), size: u32 });
    export const memory = arena({ maxEntries: 1 });
    export const head = global(pointer<Node | null>(() => Node), null);
    export const ring = global(Ring, { first: null, size: 3 });
    export const rings = hash({ key: u32, value: Ring, maxEntries: 4 });
    export const heads = hash({ key: u32, value: pointer(() => Node), maxEntries: 4 });
    export const free = queue({ value: pointer(() => Node), maxEntries: 4 });
    export const turns = global(u32);
    export const main = syscall(() => {
      const nodes = memory.allocate(array(Node, 4));
      if (nodes === null) return 1;
      const a = nodes.value[0];
      const b = nodes.value[1];
      a.next = b;
      b.next = a;
      if (a.next !== b || b.next === b || head.value === a) return 2;
      let node: Node | null = a;
      for (const _ of range(9)) {
        if (node === null) return 3;
        turns.value += 1;
        node = node.next;
        if (node === a) break;
      }
      const onStack = local(Ring, { first: b, size: 5 });
      rings.update(1, { first: a, size: 1 });
      rings.update(2, onStack);
      const one = rings.lookup(1);
      const two = rings.lookup(2);
      if (one === null || two === null || one.first !== a || two.first !== b) return 4;
      one.first = null;
      ring.value.first = two.first;
      if (one.first !== null || ring.value.first !== b) return 5;
      heads.update(1, b);
      free.push(a);
      const popped = local(pointer(() => Node));
      const kept = heads.lookup(1);
      if (free.pop(popped) !== 0 || kept === null) return 6;
      return popped.value === a && kept.value === b ? 0 : 7;
    });`),
  ({ globals, run }) => {
    assert.equal(run('main'), 0);
    assert.equal(globals.turns.value, 2);
  },
);
