/**
 * The language's constructs, each in the kernel with and without the optimiser: statements, structs, memory, functions.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { kernelSkip } from '../../support/bpf.ts';
import { runBoth } from '../../support/bpf-compiler.ts';

const kernel = { skip: kernelSkip };

test('globals begin as declared, and cut what is stored', kernel, () => {
  const { globals } = runBoth(`
    export const a = global(u64, 5n);
    export const b = global(u32);
    export const c = global(i32, -3);
    export const d = global(u8);
    export const main = xdp(() => {
      a.value += 1n;
      b.value = u32(0xffffffff) + 2;
      c.value *= 7;
      d.value = 0x1ff;
      return XDP_PASS;
    });`);
  assert.deepEqual(globals, { a: 6n, b: 1, c: -21, d: 255 });
});

test('read-only globals take the values that user space gives', kernel, () => {
  const text = `
    export const limit = readOnly(u32, 100);
    export const table = readOnly(array(u32, 4), [1, 2, 3, 4]);
    export const out = global(u32);
    export const main = xdp(() => {
      for (const x of table.value) out.value += x;
      out.value += limit.value;
      return XDP_PASS;
    });`;
  assert.equal(runBoth(text).globals.out, 110);
  assert.equal(runBoth(text, { constants: { limit: 1, table: [5, 5, 5, 5] } }).globals.out, 21);
});

test('loops count, skip and end where the source says', kernel, () => {
  const { globals } = runBoth(`
    export const sum = global(u32);
    export const odd = global(u32);
    export const inner = global(u64);
    export const down = global(u32);
    export const main = xdp(() => {
      for (const i of range(10)) sum.value += i;
      for (const i of range(5, 0, -2)) down.value = down.value * 10 + i;
      for (let i = 0; i < 20; i++) {
        if (i % 2 === 0) continue;
        if (i > 15) break;
        odd.value += 1;
      }
      let n = 0;
      outer: while (true) {
        for (const j of range(2, 8, 2)) {
          n++;
          inner.value += u64(j);
          if (n > 7) break outer;
          if (j === 4) continue outer;
        }
      }
      do { n -= 1; } while (n > 3);
      sum.value += n;
      return XDP_PASS;
    });`);
  assert.deepEqual(globals, { sum: 48, odd: 8, inner: 24n, down: 531 });
});

test('switch falls through, and labelled blocks end early', kernel, () => {
  const { globals } = runBoth(`
    enum Colour { Red, Green = 5, Blue }
    export const passed = global(u32);
    export const results = global(array(u32, 11));
    function pick(colour: u32): u32 {
      switch (colour) {
        case Colour.Red: return 1;
        case Colour.Green:
        case Colour.Blue: { const twice = colour * 2; return twice; }
        case 9: passed.value += 1;
        default: return 99;
      }
    }
    export const main = xdp(() => {
      for (const colour of range(11)) results.value[colour] = pick(colour);
      done: {
        if (passed.value === 1) { passed.value = 3; break done; }
        passed.value = 9;
      }
      return XDP_PASS;
    });`);
  assert.deepEqual(globals, { passed: 3, results: [1, 99, 99, 99, 99, 10, 12, 99, 99, 99, 99] });
});

test('structs nest, hold arrays and bit fields, and are copied', kernel, () => {
  const { globals, result } = runBoth(`
    const Inner = struct({ a: u8, b: u16 });
    const Flow = struct({ inner: Inner, list: array(u32, 4), big: be32, ok: boolean, low: bits(u8, 4), high: bits(u8, 4) });
    export const out = global(Flow);
    export const flows = hash({ key: Inner, value: Flow, maxEntries: 10 });
    export const total = global(u32);
    export const main = xdp(() => {
      const flow = local(Flow, { inner: { a: 1, b: 513 }, list: [1, 2, 3], big: 0x01020304, ok: true, low: 5 });
      flow.high = 9;
      flow.high += 1;
      flow.list[3] = flow.low + flow.high;
      flows.update({ a: 1, b: 2 }, flow);
      const found = flows.lookup({ a: 1, b: 2 });
      if (!found) return XDP_ABORTED;
      found.inner.b = 7;
      out.value = found;
      for (const x of found.list) total.value += x;
      for (const i of range(4)) total.value += found.list[i] * 100;
      const { big, ok: isSet } = found;
      return isSet && big === 0x01020304 ? XDP_TX : XDP_DROP;
    });`);
  const inner = { a: 1, b: 7 };
  assert.deepEqual(globals.out, { inner, list: [1, 2, 3, 15], big: 0x01020304, ok: true, low: 5, high: 10 });
  assert.equal(globals.total, 2121);
  assert.equal(result, 3);
});

test('bit fields keep their neighbours and their sign', kernel, () => {
  const { globals } = runBoth(`
    const Bits = struct({ a: bits(u32, 3), b: bits(u32, 10), s: bits(i32, 5), c: bits(u8, 4), d: bits(u8, 4), e: bits(u64, 40) });
    export const out = global(array(i64, 6));
    export const main = xdp(() => {
      const it = local(Bits, { a: 5, b: 1000 });
      it.s = -3;
      it.c = 15;
      it.d = 6;
      it.e = 0xabcdef0123n;
      it.a += 4;
      out.value[0] = i64(it.a);
      out.value[1] = i64(it.b);
      out.value[2] = i64(it.s);
      out.value[3] = i64(it.c);
      out.value[4] = i64(it.d);
      out.value[5] = i64(it.e);
      return XDP_PASS;
    });`);
  assert.deepEqual(globals.out, [1n, 1000n, -3n, 15n, 6n, 0xabcdef0123n]);
});

test('packed structs on the stack are reached in aligned pieces', kernel, () => {
  const { globals } = runBoth(`
    const Packed = packed({ a: u8, b: u32, c: be16, d: u64, e: i16 });
    export const out = global(array(u64, 5));
    export const main = xdp(() => {
      const p = local(Packed, { a: 1, b: 0x01020304, c: 0x0506 });
      p.d = 0x1122334455667788n;
      p.e = -2;
      p.b += 1;
      out.value[0] = u64(p.b);
      out.value[1] = u64(p.c);
      out.value[2] = p.d;
      out.value[3] = u64(p.e);
      const copy = local(Packed, p);
      copy.a = 9;
      out.value[4] = u64(copy.b) + u64(copy.a) + u64(p.a);
      return XDP_PASS;
    });`);
  assert.deepEqual(globals.out, [0x01020305n, 0x0506n, 0x1122334455667788n, 2n ** 64n - 2n, 0x01020305n + 10n]);
});

test('arrays of structs and of arrays are indexed and copied', kernel, () => {
  const { globals, result } = runBoth(`
    const Item = struct({ x: u16, y: u16 });
    const Table = struct({ list: array(Item, 4), grid: array(array(u8, 3), 2) });
    export const out = global(Table);
    export const main = xdp(() => {
      const table = local(Table);
      for (const i of range(4)) {
        table.list[i].x = i * 2;
        table.list[i].y = table.list[i].x + 1;
      }
      for (const row of table.grid) for (const column of range(3)) row[column] = column + 1;
      table.grid[1][2] = 77;
      table.list[3] = table.list[1];
      out.value = table;
      let total = 0;
      for (const item of table.list) total += item.y;
      return total === 12 ? XDP_PASS : XDP_DROP;
    });`);
  const { list, grid } = globals.out as { list: unknown; grid: Uint8Array[] };
  assert.deepEqual(
    list,
    [0, 2, 4, 2].map((x) => ({ x, y: x + 1 })),
  );
  assert.deepEqual(
    grid.map((row) => [...row]),
    [
      [1, 2, 3],
      [1, 2, 77],
    ],
  );
  assert.equal(result, 2);
});

test('network order is a matter of memory only', kernel, () => {
  const { globals } = runBoth(`
    export const a = global(be64, 1n);
    export const b = global(be16, 0x1234);
    export const same = global(be16, 0x1234);
    export const out = global(array(u64, 6));
    export const main = xdp(() => {
      out.value[0] = a.value + 1n;
      a.value += 255n;
      out.value[1] = u64(swap32(0x01020304));
      out.value[2] = u64(b.value === 0x1234) + u64(b.value !== 0x3412) + u64(b.value === same.value);
      out.value[3] = u64(b.value < 0x2000);
      same.value = b.value;
      out.value[4] = u64(same.value);
      out.value[5] = u64(swap16(b.value));
      return XDP_PASS;
    });`);
  assert.deepEqual(globals.out, [2n, 0x04030201n, 3n, 1n, 0x1234n, 0x3412n]);
  assert.equal(globals.a, 256n);
});

test('functions are inlined or called, with defaults, early returns and what they are generic over', kernel, () => {
  const { globals } = runBoth(`
    const Flow = struct({ n: u32 });
    function add(x: u32, y: u32 = 3): u32 { if (x > 10) return x; return x + y; }
    const twice = (x: u32): u32 => add(x) * 2;
    const apart = subprogram((x: u64, flow: Value<typeof Flow>): u64 => {
      flow.n += 1;
      if (x === 0n) return 7n;
      return x * 2n + u64(flow.n);
    });
    function present<T>(context: Value<typeof xdp_md>, type: Layout<T>, offset: u32): u32 {
      const bytes = packet(context, type, offset);
      return bytes === null ? 0 : 1 + type.size;
    }
    function bump(map: typeof counters, key: u32): u64 {
      const counter = map.lookup(key);
      if (counter === null) return 0n;
      counter.value += 1n;
      return counter.value;
    }
    const flows = array({ value: Flow, maxEntries: 1 });
    export const counters = array({ value: u64, maxEntries: 4 });
    export const others = hash({ key: u32, value: u64, maxEntries: 4 });
    export const out = global(array(u64, 5));
    export const main = xdp((context) => {
      out.value[0] = u64(twice(4) + twice(20));
      const onStack = local(Flow);
      out.value[1] = apart(5n, onStack) + apart(0n, onStack);
      const inMap = flows.lookup(0);
      if (inMap === null) return XDP_ABORTED;
      out.value[2] = apart(6n, inMap) * 1000n + u64(onStack.n);
      others.update(1, 41n);
      out.value[3] = bump(counters, 0) * 1000n + bump(others, 1);
      out.value[4] = u64(present(context, Ethernet, 0) * 100 + present(context, Ipv4, 60));
      return XDP_PASS;
    });`);
  assert.deepEqual(globals.out, [54n, 18n, 13_002n, 1042n, 1500n]);
});

test('subprograms take the context, give map values, and write to the packet', kernel, () => {
  const { globals, packet } = runBoth(`
    const parse = subprogram((context: Value<typeof xdp_md>, offset: u32) => {
      const field = packet(context, be16, offset);
      return field === null ? 0 : field.value;
    });
    const find = subprogram((key: u32) => entries.lookup(key));
    const mark = subprogram((ethernet: Value<typeof Ethernet>): void => { ethernet.protocol = 0x1234; });
    export const entries = hash({ key: u32, value: u32, maxEntries: 8 });
    export const out = global(u32);
    export const main = xdp((context) => {
      entries.update(2, 5);
      const found = find(2);
      if (found !== null) out.value = found.value;
      const ethernet = packet(context, Ethernet, 0);
      if (ethernet === null) return XDP_DROP;
      mark(ethernet);
      out.value = out.value * 0x10000 + parse(context, 12);
      return XDP_PASS;
    });`);
  assert.equal(globals.out, 0x51234);
  assert.deepEqual([...packet.subarray(12, 14)], [0x12, 0x34]);
});

test('lists are written out, and literals take the type that is wanted', kernel, () => {
  const { globals, result } = runBoth(`
    const PORTS = [80, 443, 8080] as const;
    const Pair = struct({ a: u32, b: u32 });
    type Pair = Value<typeof Pair>;
    function sum(pair: Pair): u32 { return pair.a * 10 + pair.b; }
    function make(a: u32): Pair { return { a, b: a + 1 }; }
    export const out = global(array(u32, 4));
    export const main = xdp(() => {
      for (const port of PORTS) {
        if (port === 443) continue;
        out.value[0] += port;
      }
      for (const step of [1, 2, 3]) {
        if (step === 3) break;
        out.value[1] += step;
      }
      out.value[2] = sum({ a: 1, b: 2 });
      out.value[3] = sum(make(3));
      return PORTS.length;
    });`);
  assert.deepEqual(globals.out, [8160, 3, 12, 34]);
  assert.equal(result, 3);
});

test('operands are read from left to right', kernel, () => {
  const { globals, result } = runBoth(`
    export const a = global(u32, 1);
    export const b = global(u32, 2);
    function change(): u32 { a.value = 10; return 5; }
    export const main = xdp(() => {
      b.value = a.value + change() + a.value;
      a.value = 1;
      a.value += change();
      let x = 1;
      x += (x = 4) + x;
      return x === 9 ? XDP_PASS : XDP_DROP;
    });`);
  assert.deepEqual(globals, { a: 6, b: 16 });
  assert.equal(result, 2);
});
