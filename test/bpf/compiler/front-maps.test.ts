/**
 * Pointers, packets, maps and helpers in programs, in the kernel with and without the optimiser.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { kernelSkip } from '../../support/bpf.ts';
import { runBoth } from '../../support/bpf-compiler.ts';

const kernel = { skip: kernelSkip };

test('a pointer is narrowed by tests, defaults and assignments', kernel, () => {
  const { globals } = runBoth(`
    export const entries = hash({ key: u32, value: u64, maxEntries: 8 });
    export const out = global(array(u64, 5));
    export const main = xdp((context) => {
      entries.update(3, 30n);
      let found = entries.lookup(1);
      if (found === null) found = entries.lookup(3);
      if (found === null) return XDP_ABORTED;
      out.value[0] = found.value;
      out.value[1] = entries.lookup(9)?.value ?? 77n;
      const either = entries.lookup(9) ?? entries.lookup(3);
      if (either) out.value[2] = either.value + 1n;
      const ethernet = packet(context, Ethernet, 0);
      const isZero = ethernet !== null && ethernet.protocol === 0;
      out.value[3] = u64(isZero);
      if (!(ethernet === null || ethernet.source[0] !== 0)) out.value[4] = 1n;
      return XDP_PASS;
    });`);
  assert.deepEqual(globals.out, [30n, 77n, 31n, 1n, 1n]);
});

test('a look-up within a loop’s condition narrows in the body', kernel, () => {
  const { globals } = runBoth(`
    export const entries = hash({ key: u32, value: u32, maxEntries: 8 });
    export const out = global(u32);
    export const main = xdp(() => {
      entries.update(0, 1);
      entries.update(1, 2);
      let i = 0;
      let found: Reference<u32> | null = null;
      while (i < 6 && (found = entries.lookup(i)) !== null) {
        out.value = out.value * 10 + found.value;
        i++;
      }
      return XDP_PASS;
    });`);
  assert.equal(globals.out, 12);
});

test('what a loop finds may be returned before its variable is seen to lead anywhere', kernel, () => {
  const { globals } = runBoth(`
    const Entry = struct({ key: u32, count: u32 });
    type Entry = Value<typeof Entry>;
    export const entries = array({ value: Entry, maxEntries: 4 });
    export const out = global(array(u32, 2));
    const find = (key: u32): Entry | null => {
      let entry: Entry | null = null;
      for (const i of range(5)) {
        if (entry !== null && entry.key === key) return entry;
        entry = entries.lookup(i);
      }
      return entry;
    };
    export const main = xdp(() => {
      entries.update(2, { key: 7, count: 40 });
      const found = find(7);
      if (found === null) return XDP_ABORTED;
      found.count += 2;
      out.value[0] = found.count;
      out.value[1] = find(9) === null ? 1 : 2;
      return XDP_PASS;
    });`);
  assert.deepEqual(globals.out, [42, 1]);
});

test('one pointer may lead into either of two maps of one type', kernel, () => {
  const { result } = runBoth(`
    const Pair = struct({ a: u32, b: u32 });
    export const first = array({ value: Pair, maxEntries: 2 });
    export const second = array({ value: Pair, maxEntries: 2 });
    export const flag = global(u32, 1);
    export const main = xdp(() => {
      const pair = flag.value === 1 ? first.lookup(0) : second.lookup(1);
      if (pair === null) return XDP_ABORTED;
      pair.a = 4;
      const same = pair;
      same.b = pair.a;
      const again = first.lookup(0);
      return again !== null && again.b === 4 ? XDP_TX : XDP_DROP;
    });`);
  assert.equal(result, 3);
});

test('offsets into the packet may be variables', kernel, () => {
  const packet = new Uint8Array(64);
  packet.set([2, 0, 0, 5], 14);
  const { globals } = runBoth(
    `
    export const out = global(u32);
    export const main = xdp((context) => {
      let offset = Ethernet.size;
      for (const i of range(4)) {
        const length = packet(context, u8, offset);
        if (length === null) break;
        offset += length.value + 1;
        out.value = out.value * 100 + offset;
      }
      const last = packet(context, u32, packetLength(context) - 4);
      if (last === null) return XDP_DROP;
      const behind = packet(context, u32, packetLength(context) - 3);
      const negative = packet(context, u32, i32(offset) - 1000);
      return behind === null && negative === null ? XDP_PASS : XDP_DROP;
    });`,
    { packet },
  );
  assert.equal(globals.out, 17_232_425);
});

test('keys are scalars, literals, structs, parts of the packet', kernel, () => {
  const packet = Uint8Array.from({ length: 64 }, (_, index) => index);
  const { result, globals } = runBoth(
    `
    const Key = struct({ destination: array(u8, 6), source: array(u8, 6) });
    const Address = struct({ prefixLength: u32, address: be32 });
    export const stations = hash({ key: Key, value: u64, maxEntries: 10 });
    export const routes = lpmTrie({ key: Address, value: u32, maxEntries: 10 });
    export const out = global(u32);
    export const main = xdp((context) => {
      const ethernet = packet(context, Ethernet, 0);
      if (ethernet === null) return XDP_ABORTED;
      stations.update({ source: ethernet.source, destination: ethernet.destination }, 1n);
      const key = packet(context, Key, 0);
      if (key === null || stations.lookup(key) === null) return XDP_DROP;
      routes.update({ prefixLength: 8, address: 0x0a000000 }, 8);
      routes.update({ prefixLength: 16, address: 0x0a010000 }, 16);
      out.value = (routes.lookup({ prefixLength: 32, address: 0x0a010203 })?.value ?? 0) * 100;
      out.value += routes.lookup({ prefixLength: 32, address: 0x0aff0000 })?.value ?? 0;
      return XDP_PASS;
    });`,
    { packet },
  );
  assert.equal(result, 2);
  assert.equal(globals.out, 1608);
});

test('callbacks get an object of the caller’s', kernel, () => {
  const { globals } = runBoth(`
    const State = struct({ n: u64, limit: u32 });
    const STEP = 3;
    export const out = global(u64);
    export const entries = hash({ key: u32, value: u64, maxEntries: 8 });
    function visit(map: typeof entries, key: Reference<u32>, value: Reference<u64>, state: Value<typeof State>): number {
      state.n += value.value * u64(key.value);
      return 0;
    }
    export const main = xdp(() => {
      const state = local(State, { limit: 5 });
      const step = STEP;
      const rounds = bpf_loop(10, (index, given) => {
        if (index >= given.limit) return 1;
        given.n += u64(index * step);
        return 0;
      }, state, 0);
      entries.update(1, 10n);
      entries.update(2, 20n);
      entries.forEach(visit, state);
      out.value = state.n + u64(rounds) * 1000n;
      return XDP_PASS;
    });`);
  assert.equal(globals.out, 6080n);
});

test('atomics give what was there', kernel, () => {
  const { globals } = runBoth(`
    const Counters = struct({ a: u64, b: u32 });
    export const counters = array({ value: Counters, maxEntries: 1 });
    export const numbers = array({ value: u64, maxEntries: 1 });
    export const total = global(u64, 5n);
    export const out = global(array(u64, 7));
    export const main = xdp(() => {
      const both = counters.lookup(0);
      const number = numbers.lookup(0);
      if (both === null || number === null) return XDP_ABORTED;
      atomicAdd(both, 'a', 7n);
      out.value[0] = atomicAdd(both, 'a', 1n);
      atomicOr(both, 'b', 6);
      out.value[1] = u64(atomicAnd(both, 'b', 3));
      out.value[2] = u64(both.b);
      out.value[3] = atomicExchange(number, 'value', 9n);
      out.value[4] = atomicCompareExchange(number, 'value', 9n, 10n);
      atomicAdd(total, 'value', 2n);
      out.value[5] = number.value;
      out.value[6] = u64(atomicXor(both, 'b', 0xffffffff)) + u64(both.b);
      return XDP_PASS;
    });`);
  assert.deepEqual(globals, { total: 7n, out: [7n, 6n, 2n, 0n, 9n, 10n, 0xffffffffn] });
});

test('locks, queues, buffers, maps of maps, tail calls and print are accepted', kernel, () => {
  const { result, globals } = runBoth(`
    const Guarded = struct({ lock: spinLock, n: u32 });
    const Event = struct({ a: u32, b: u64 });
    export const guarded = array({ value: Guarded, maxEntries: 1 });
    export const numbers = queue({ value: u32, maxEntries: 8 });
    export const events = ringBuffer({ maxEntries: 4096, value: Event });
    export const inner = array({ value: u32, maxEntries: 4 });
    export const outer = arrayOfMaps({ value: inner, maxEntries: 2, values: [inner] });
    export const out = global(u32);
    export const second = xdp((context) => { out.value += 1000; return XDP_TX; });
    export const programs = programArray({ maxEntries: 2, values: [second] });
    export const main = xdp((context) => {
      const one = guarded.lookup(0);
      if (one === null) return XDP_ABORTED;
      bpf_spin_lock(one.lock);
      one.n += 1;
      bpf_spin_unlock(one.lock);
      numbers.push(3);
      numbers.push(4);
      const number = local(u32);
      for (const i of range(3)) if (numbers.pop(number) === 0) out.value += number.value;
      const event = events.reserve(Event);
      if (event === null) return XDP_ABORTED;
      event.a = 1;
      event.b = 2n;
      events.submit(event);
      events.output({ a: 3, b: 4n });
      const found = outer.lookup(0);
      if (found === null) return XDP_ABORTED;
      const value = found.lookup(1);
      if (value === null) return XDP_ABORTED;
      value.value += 41;
      out.value += value.value * 10;
      print(\`number \${number.value}, time \${bpf_ktime_get_ns()}, \${1} \${2n}\`);
      tailCall(context, programs, 0);
      return XDP_DROP;
    });`);
  assert.equal(globals.out, 1417);
  assert.equal(result, 3);
});

test('a helper that takes a length takes a slice', kernel, () => {
  const packet = Uint8Array.from({ length: 64 }, (_, index) => index);
  const { globals } = runBoth(
    `
    export const buffer = array({ value: array(u8, 32), maxEntries: 1 });
    export const out = global(u32);
    export const main = xdp((context) => {
      const bytes = buffer.lookup(0);
      if (bytes === null) return XDP_ABORTED;
      let length = packetLength(context);
      if (length > 20) length = 20;
      if (length < 1 || bpf_xdp_load_bytes(context, 2, slice(bytes, length)) < 0) return XDP_ABORTED;
      out.value = bytes.value[19] * 100 + bytes.value[20];
      return XDP_PASS;
    });`,
    { packet },
  );
  assert.equal(globals.out, 2100);
});

test('a timer calls back with what its parameters are declared to be', kernel, () => {
  const { result } = runBoth(`
    const Entry = struct({ timer: timer, n: u32 });
    export const entries = array({ value: Entry, maxEntries: 1 });
    export const main = xdp(() => {
      const entry = entries.lookup(0);
      if (entry === null) return XDP_ABORTED;
      bpf_timer_init(entry.timer, entries, 1);
      bpf_timer_set_callback(entry.timer, (map, key: Reference<u32>, value: Value<typeof Entry>) => {
        value.n += key.value + 1;
        return 0;
      });
      return bpf_timer_start(entry.timer, 1_000_000_000n, 0n) === 0 ? XDP_PASS : XDP_DROP;
    });`);
  assert.equal(result, 2);
});

test('a kernel function fills a dynptr, from which bytes are read', kernel, () => {
  const packet = Uint8Array.from({ length: 64 }, (_, index) => index);
  const { globals } = runBoth(
    `
    const fromXdp = kernelFunction('bpf_dynptr_from_xdp', [pointer(), u64, pointer()], i32);
    export const out = global(u32);
    export const main = xdp((context) => {
      const whole = local(dynptr);
      if (fromXdp(context, 0n, whole) < 0) return XDP_ABORTED;
      const bytes = local(array(u8, 14));
      if (bpf_dynptr_read(bytes, whole, 10, 0n) < 0) return XDP_DROP;
      out.value = bytes.value[0] * 100 + bytes.value[13];
      return XDP_PASS;
    });`,
    { packet },
  );
  assert.equal(globals.out, 1023);
});
