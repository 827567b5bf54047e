/**
 * The back end's instructions for small functions: what is folded, what is left out, what is noted beside the code.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { disassemble } from '../../../src/bpf/assembly.ts';
import {
  BackEndError,
  type CompiledFunction,
  type GenerateOptions,
  generate,
} from '../../../src/bpf/compiler/back/index.ts';
import { Builder } from '../../../src/bpf/compiler/builder.ts';
import type { CoreRelocation, Space, Value } from '../../../src/bpf/compiler/ir.ts';
import { layOut, type Type, U32, U64 } from '../../../src/bpf/types.ts';

interface Shape {
  readonly name?: string;
  readonly spaces: readonly Space[];
  readonly result?: Type;
  readonly linkage?: 'global' | 'static';
}

function build({ name = 'f', spaces, result = U64, linkage = 'global' }: Shape, body: (builder: Builder) => void) {
  const signature = { parameters: spaces.map((_, index) => ({ name: `p${index}`, type: U64 })), result };
  const builder = new Builder({ name, signature, linkage, location: { file: 0, line: 1, column: 1 }, spaces });
  body(builder);
  return builder.finish();
}

function compile(shape: Shape, body: (builder: Builder) => void, options?: GenerateOptions): CompiledFunction {
  return generate({ files: [], functions: [build(shape, body)] }, options)[0];
}

/** The instructions' text, one line each, without names of places. */
function textOf(shape: Shape, body: (builder: Builder) => void, options?: GenerateOptions): string[] {
  return disassemble(compile(shape, body, options).instructions)
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
}

/** A function of numbers that returns what `of` makes of them. */
function numbers(count: number, of: (builder: Builder, ...values: Value[]) => Value, options?: GenerateOptions) {
  const spaces = new Array<Space>(count).fill('scalar');
  return textOf({ spaces }, (builder) => builder.return(of(builder, ...builder.function.parameters)), options);
}

const HELPER = { kind: 'helper', id: 5, name: 'ktime_get_ns' } as const;

test('numbers of 32 bits stand in the instruction, larger ones in a register', () => {
  assert.deepEqual(
    numbers(1, (builder, a) => builder.binary('add', 64, a, builder.constant(-5))),
    ['mov %r0, %r1', 'add %r0, -5', 'exit'],
  );
  assert.deepEqual(
    numbers(1, (builder, a) => builder.binary('mul', 64, builder.constant(0x123456789n), a)),
    ['lddw %r0, 0x123456789', 'mul %r0, %r1', 'exit'],
  );
  assert.deepEqual(
    numbers(1, (builder, a) => builder.binary('xor', 32, a, builder.constant(0xffffffffn))),
    ['mov %r0, %r1', 'xor32 %r0, -1', 'exit'],
  );
});

test('an operation overwrites the operand that is not needed any more', () => {
  const lines = numbers(2, (builder, a, b) => {
    const sum = builder.binary('add', 64, a, b);
    return builder.binary('sub', 64, sum, a);
  });
  assert.deepEqual(lines, ['mov %r0, %r2', 'add %r0, %r1', 'sub %r0, %r1', 'exit']);
});

test('extensions that change nothing are left out', () => {
  const load = (builder: Builder, a: Value) => builder.load(2, false, a);
  const plain = ['ldxh %r0, [%r1]', 'exit'];
  assert.deepEqual(
    numbers(1, (builder, a) => builder.unary('zext', 4, load(builder, a))),
    plain,
  );
  assert.deepEqual(
    numbers(1, (builder, a) => builder.unary('sext', 4, load(builder, a))),
    plain,
  );
  assert.deepEqual(
    numbers(1, (builder, a) => builder.unary('zext', 4, builder.binary('add', 32, a, a))),
    ['mov %r0, %r1', 'add32 %r0, %r0', 'exit'],
  );
});

test('a sign extension that only 32-bit operations read is left out', () => {
  const lines = numbers(1, (builder, a) => {
    const sum = builder.unary('sext', 4, builder.binary('add', 32, a, builder.constant(1)));
    return builder.binary('mul', 32, sum, builder.constant(3));
  });
  assert.deepEqual(lines, ['mov %r0, %r1', 'add32 %r0, 1', 'mul32 %r0, 3', 'exit']);
});

test('an extension behind a division stays: it is what bounds the quotient for the verifier', () => {
  const lines = numbers(2, (builder, a, b) => {
    const quotient = builder.unary('zext', 4, builder.binary('udiv', 32, a, b));
    return builder.binary('lshr', 64, quotient, builder.constant(3));
  });
  assert.deepEqual(lines, ['div32 %r1, %r2', 'mov32 %r0, %r1', 'rsh %r0, 3', 'exit']);
});

test('an extension stays where what it reads was itself left unextended', () => {
  const lines = numbers(2, (builder, a, b) => {
    const masked = builder.binary('and', 64, builder.unary('zext', 4, a), b);
    return builder.unary('zext', 4, masked);
  });
  // One of the two is enough, but not none.
  assert.equal(lines.filter((line) => line.startsWith('mov32')).length, 1);
});

test('numbers of 32 bits are compared as a whole, which tells the verifier most', () => {
  const branch = (of: (builder: Builder, a: Value) => Value) =>
    textOf({ spaces: ['scalar'] }, (builder) => {
      const [yes, no] = [builder.block(), builder.block()];
      builder.branch('ult', 32, of(builder, builder.function.parameters[0]), builder.constant(9), yes, no);
      builder.seal(yes);
      builder.seal(no);
      for (const [block, number] of [
        [yes, 1],
        [no, 2],
      ] as const) {
        builder.enter(block);
        builder.return(builder.constant(number));
      }
    });
  assert.match(branch((builder, a) => builder.unary('swap', 2, a)).join(), /jlt %r1, 9|jge %r1, 9/);
  assert.match(branch((_, a) => a).join(), /jlt32 %r1, 9|jge32 %r1, 9/);
});

test('a 32-bit comparison does not become one of 64 bits where an operand stands sign-extended in its register', () => {
  const lines = textOf({ spaces: ['scalar', 'stack'] }, (builder) => {
    const [a, place] = builder.function.parameters;
    const negative = builder.unary('sext', 4, builder.load(4, false, place));
    builder.store(8, place, negative);
    const [yes, no] = [builder.block(), builder.block()];
    builder.branch('ult', 32, negative, builder.binary('lshr', 64, a, builder.constant(40)), yes, no);
    builder.seal(yes);
    builder.seal(no);
    builder.enter(yes);
    builder.return(builder.constant(1));
    builder.enter(no);
    builder.return(builder.constant(2));
  });
  const jumps = lines.filter((line) => /^j(?:lt|ge|le|gt)/.test(line));
  assert.equal(jumps.length, 1);
  assert.match(jumps[0], /^j..32 /);
});

test('a division by a power of 2 is a shift, its remainder a mask', () => {
  const quotient = numbers(1, (builder, a) => builder.binary('udiv', 32, a, builder.constant(8)));
  assert.deepEqual(quotient, ['mov %r0, %r1', 'rsh32 %r0, 3', 'exit']);
  const rest = numbers(1, (builder, a) => builder.binary('umod', 64, a, builder.constant(1024)));
  assert.deepEqual(rest, ['mov %r0, %r1', 'and32 %r0, 1023', 'exit']);
});

test('a sign extension is two shifts on version 3 of the CPU, one instruction on version 4', () => {
  const extend = (builder: Builder, a: Value) => builder.unary('sext', 2, a);
  assert.deepEqual(numbers(1, extend), ['mov %r0, %r1', 'lsh %r0, 48', 'arsh %r0, 48', 'exit']);
  assert.deepEqual(numbers(1, extend, { cpu: 4 }), ['movsx1664 %r0, %r1', 'exit']);
});

test('a sign-extending load is one instruction on version 4, though not from a context', () => {
  const body = (builder: Builder) => {
    builder.return(builder.load(1, true, builder.function.parameters[0], 'scalar', { offset: 3 }));
  };
  assert.deepEqual(textOf({ spaces: ['mapValue'] }, body, { cpu: 4 }), ['ldxsb %r0, [%r1+3]', 'exit']);
  const fromContext = textOf({ spaces: ['context'] }, body, { cpu: 4 });
  assert.deepEqual(fromContext, ['ldxb %r0, [%r1+3]', 'movsx864 %r0, %r0', 'exit']);
});

test('a mask of 32 bits needs no wide number', () => {
  assert.deepEqual(
    numbers(1, (builder, a) => builder.binary('and', 64, a, builder.constant(0xffff0000n))),
    ['mov %r0, %r1', 'and32 %r0, -65536', 'exit'],
  );
  assert.deepEqual(
    numbers(1, (builder, a) => builder.binary('and', 64, a, builder.constant(0xffffffffn))),
    ['mov32 %r0, %r1', 'exit'],
  );
});

test('a division by the number 0 gives what RFC 9669 says, without a division', () => {
  assert.deepEqual(
    numbers(1, (builder, a) => builder.binary('udiv', 64, a, builder.constant(0))),
    ['mov %r0, 0', 'exit'],
  );
  const rest = numbers(1, (builder, a) => builder.binary('umod', 32, a, builder.constant(0)));
  assert.deepEqual(rest, ['mov32 %r0, %r1', 'exit']);
});

test('constant parts of an address stand in the access', () => {
  const lines = textOf({ spaces: ['packet'] }, (builder) => {
    const header = builder.binary('add', 64, builder.function.parameters[0], builder.constant(14), 'packet');
    const field = builder.binary('add', 64, header, builder.constant(12), 'packet');
    builder.return(builder.load(4, false, field, 'scalar', { offset: 4 }));
  });
  assert.deepEqual(lines, ['ldxw %r0, [%r1+30]', 'exit']);
});

test('the stack is reached through the frame pointer', () => {
  const lines = textOf({ spaces: ['scalar'] }, (builder) => {
    const [small, large] = [builder.slot(4, 4, 'small'), builder.slot(16, 8, 'large')];
    builder.store(4, builder.stackAddress(small), builder.constant(7));
    builder.store(8, builder.stackAddress(large), builder.function.parameters[0], { offset: 8 });
    builder.return(builder.load(8, false, builder.stackAddress(large), 'scalar', { offset: 8 }));
  });
  assert.deepEqual(lines, ['stw [%r10-4], 7', 'stxdw [%r10-16], %r1', 'ldxdw %r0, [%r10-16]', 'exit']);
});

test('a number goes into a context by way of a register', () => {
  const lines = textOf({ spaces: ['context'], result: U32 }, (builder) => {
    builder.store(4, builder.function.parameters[0], builder.constant(9), { offset: 8 });
    builder.return(builder.constant(1));
  });
  assert.deepEqual(lines, ['mov %r0, 9', 'stxw [%r1+8], %r0', 'mov %r0, 1', 'exit']);
});

test('a branch does the comparison itself', () => {
  const lines = textOf({ spaces: ['scalar', 'scalar'] }, (builder) => {
    const [a, b] = builder.function.parameters;
    const [yes, no] = [builder.block(), builder.block()];
    builder.branch('ne', 64, builder.compare('slt', 32, a, b), builder.constant(0), yes, no);
    builder.seal(yes);
    builder.seal(no);
    builder.enter(yes);
    builder.return(builder.constant(1));
    builder.enter(no);
    builder.return(builder.constant(2));
  });
  assert.equal(lines.length, 6);
  assert.match(lines[0], /^js(lt|ge)32 %r1, %r2, /);
});

test('a loop tests once for each round, at its end', () => {
  const lines = textOf({ spaces: ['scalar'] }, (builder) => {
    const [n] = builder.function.parameters;
    const [i, sum] = [{ name: 'i', space: 'scalar' } as const, { name: 'sum', space: 'scalar' } as const];
    const [head, body, next] = [builder.block(), builder.block(), builder.block()];
    builder.write(i, builder.constant(0));
    builder.write(sum, builder.constant(0));
    builder.jump(head);
    builder.enter(head);
    builder.branch('ult', 64, builder.read(i), builder.constant(10), body, next);
    builder.seal(body);
    builder.seal(next);
    builder.enter(body);
    builder.write(sum, builder.binary('add', 64, builder.read(sum), n));
    builder.write(i, builder.binary('add', 64, builder.read(i), builder.constant(1)));
    builder.jump(head);
    builder.seal(head);
    builder.enter(next);
    builder.return(builder.read(sum));
  });
  const loop = lines.slice(lines.findIndex((line) => line.endsWith(':')) + 1);
  assert.equal(lines.filter((line) => line.startsWith('ja ')).length, 0);
  assert.match(loop.join('; '), /^add %r0, %r1; add %r2, 1; jlt %r2, 10, L\d+; exit$/);
});

test('a number that needs a register is made before the loop that uses it', () => {
  const lines = textOf({ spaces: ['mapValue'] }, (builder) => {
    const [address] = builder.function.parameters;
    const hash = { name: 'hash', space: 'scalar' } as const;
    const [head, next] = [builder.block(), builder.block()];
    builder.write(hash, builder.load(8, false, address));
    builder.jump(head);
    builder.enter(head);
    builder.write(hash, builder.binary('mul', 64, builder.read(hash), builder.constant(0x9e3779b97f4a7c15n)));
    builder.branch('ne', 64, builder.load(8, false, address), builder.constant(0), head, next);
    builder.seal(head);
    builder.seal(next);
    builder.enter(next);
    builder.return(builder.read(hash));
  });
  const loop = lines.findIndex((line) => line.endsWith(':'));
  const wide = lines.findIndex((line) => line.startsWith('lddw'));
  assert.ok(wide !== -1 && wide < loop, lines.join('\n'));
});

test('values that found no register share places in the frame when they are not used at once', () => {
  const compiled = compile({ spaces: ['mapValue'] }, (builder) => {
    const [address] = builder.function.parameters;
    // Two groups, one behind the other, each of more values than registers.
    for (let group = 0; group < 2; group++) {
      const loaded = Array.from({ length: 12 }, (_, index) => {
        return builder.load(8, false, address, 'scalar', { offset: index * 8, volatile: true });
      });
      for (const [index, value] of loaded.entries()) builder.store(8, address, value, { offset: index * 8 });
    }
    builder.return(builder.constant(0));
  });
  assert.ok(compiled.stackBytes > 0 && compiled.stackBytes <= 32, `${compiled.stackBytes} bytes`);
});

test('a store behind a choice of two numbers is repeated with each', () => {
  const lines = textOf({ spaces: ['scalar'] }, (builder) => {
    const [a] = builder.function.parameters;
    const chosen = { name: 'chosen', space: 'scalar' } as const;
    const [yes, no, next] = [builder.block(), builder.block(), builder.block()];
    builder.branch('eq', 64, a, builder.constant(0), yes, no);
    builder.seal(yes);
    builder.seal(no);
    for (const [block, number] of [
      [yes, 10],
      [no, 20],
    ] as const) {
      builder.enter(block);
      builder.write(chosen, builder.constant(number));
      builder.jump(next);
    }
    builder.seal(next);
    builder.enter(next);
    const slot = builder.slot(8, 8, 'argument');
    builder.store(8, builder.stackAddress(slot), builder.read(chosen));
    builder.return(builder.call({ kind: 'helper', id: 6, name: 'trace_printk' }, [builder.stackAddress(slot)]));
  });
  const stores = lines.filter((line) => line.startsWith('st'));
  assert.deepEqual(stores.sort(), ['stdw [%r10-8], 10', 'stdw [%r10-8], 20']);
  assert.equal(lines.filter((line) => line.startsWith('ja ')).length, 0);
});

test('arguments are computed where the call takes them, and the result is used where it comes', () => {
  const lines = textOf({ spaces: ['scalar', 'scalar'] }, (builder) => {
    const [a, b] = builder.function.parameters;
    const result = builder.call({ kind: 'helper', id: 28, name: 'csum_diff' }, [b, a, builder.constant(3)]);
    builder.return(builder.binary('add', 64, result, builder.constant(1)));
  });
  // Two arguments change places, which takes three copies.
  assert.equal(lines.length, 7);
  assert.deepEqual(lines.slice(3), ['mov %r3, 3', 'call 28', 'add %r0, 1', 'exit']);
});

test('what lives across a call is in a register that the call keeps', () => {
  const lines = textOf({ spaces: ['scalar'] }, (builder) => {
    const [a] = builder.function.parameters;
    builder.return(builder.binary('add', 64, builder.call(HELPER, []), a));
  });
  assert.deepEqual(lines, ['mov %r6, %r1', 'call 5', 'add %r0, %r6', 'exit']);
});

test('maps, data, functions and kernel symbols are relocations', () => {
  const callee = build({ name: 'callee', spaces: ['scalar'], linkage: 'static' }, (builder) => {
    builder.return(builder.function.parameters[0]);
  });
  const caller = build({ spaces: [] }, (builder) => {
    builder.call({ kind: 'helper', id: 1, name: 'map_lookup_elem' }, [
      builder.mapAddress('flows'),
      builder.dataAddress('.bss', 'seen', 16),
    ]);
    builder.call({ kind: 'helper', id: 181, name: 'loop' }, [builder.constant(3), builder.functionAddress('callee')]);
    builder.call({ kind: 'kernel', name: 'bpf_rcu_read_lock', parameters: [], result: U64 }, []);
    const symbol = builder.dataAddress('.ksyms', 'bpf_prog_active', 0, 'kernel');
    builder.return(builder.call({ kind: 'function', name: 'callee' }, [symbol]));
  });
  const [compiled] = generate({ files: [], functions: [caller, callee] });
  const found = compiled.relocations.map(({ kind, symbol, addend }) => `${kind} ${symbol} ${addend}`);
  assert.deepEqual(found, [
    'map flows 0',
    'data .bss 16',
    'callback callee 0',
    'kernelFunction bpf_rcu_read_lock 0',
    'kernelSymbol bpf_prog_active 0',
    'call callee 0',
  ]);
  for (const { index, kind } of compiled.relocations) {
    const isCall = kind === 'call' || kind === 'kernelFunction';
    assert.equal(compiled.instructions[index].opcode, isCall ? 0x85 : 0x18);
  }
});

const task = layOut('task_struct', [{ name: 'pid', type: U32 }], { relocatable: true });
const pid: CoreRelocation = { struct: task, path: ['pid'], kind: 'fieldByteOffset' };

test('a relocated access keeps the field’s own offset', () => {
  const compiled = compile({ spaces: ['kernel'] }, (builder) => {
    const inner = builder.binary('add', 64, builder.function.parameters[0], builder.constant(64), 'kernel');
    builder.return(builder.load(4, false, inner, 'scalar', { offset: 1200, relocation: pid }));
  });
  assert.deepEqual(compiled.core, [{ index: 1, relocation: pid }]);
  assert.equal(compiled.instructions[1].offset, 1200);
});

test('a relocated number stands in the addition', () => {
  const compiled = compile({ spaces: ['kernel'] }, (builder) => {
    const offset = builder.relocated(pid, 1200n);
    builder.return(builder.binary('add', 64, builder.function.parameters[0], offset, 'kernel'));
  });
  assert.deepEqual(compiled.core, [{ index: 1, relocation: pid }]);
  assert.equal(compiled.instructions[1].immediate, 1200);
});

test('each change of place in the source is noted, from the first instruction on', () => {
  const compiled = compile({ spaces: ['scalar'] }, (builder) => {
    const [a] = builder.function.parameters;
    builder.location = { file: 0, line: 3, column: 5 };
    const sum = builder.binary('add', 64, a, builder.constant(1));
    const product = builder.binary('mul', 64, sum, a);
    builder.location = { file: 0, line: 4, column: 5 };
    builder.return(product);
  });
  const places = compiled.lines.map(({ index, location }) => `${index} ${location.line}`);
  assert.deepEqual(places, ['0 3', '3 4']);
});

test('registers are named by what lies in them', () => {
  const compiled = compile({ spaces: ['scalar'] }, (builder) => {
    const [limit] = builder.function.parameters;
    limit.name = 'limit';
    const now = builder.call(HELPER, []);
    now.name = 'now';
    builder.return(builder.binary('sub', 64, now, limit));
  });
  const namesAt = (index: number) => compiled.registerNames.findLast((entry) => entry.index <= index)?.names;
  assert.equal(namesAt(1)?.[6], 'limit');
  assert.equal(namesAt(2)?.[6], 'limit');
  assert.equal(namesAt(2)?.[0], 'now');
  assert.equal(namesAt(2)?.[1], null);
});

test('a frame that is too large is refused with its bytes', () => {
  const large = (bytes: number) => (builder: Builder) => {
    const slot = builder.slot(bytes, 8, 'large');
    builder.call({ kind: 'helper', id: 4, name: 'probe_read' }, [builder.stackAddress(slot), builder.constant(bytes)]);
    builder.return(builder.constant(0));
  };
  assert.equal(compile({ spaces: [] }, large(512)).stackBytes, 512);
  assert.throws(
    () => compile({ spaces: [] }, large(520)),
    (error) =>
      error instanceof BackEndError &&
      error.message === 'f needs 520 bytes of stack; 512 are allowed' &&
      error.location?.line === 1,
  );
});

test('frames of functions that call each other must fit together', () => {
  const frame = (name: string, bytes: number, callee: string | null) =>
    build({ name, spaces: [], linkage: 'static' }, (builder) => {
      const slot = builder.slot(bytes, 8, 'buffer');
      builder.call({ kind: 'helper', id: 4, name: 'probe_read' }, [
        builder.stackAddress(slot),
        builder.constant(bytes),
      ]);
      builder.return(callee === null ? builder.constant(0) : builder.call({ kind: 'function', name: callee }, []));
    });
  const module = (bytes: number) => ({
    files: [],
    functions: [frame('outer', 256, 'inner'), frame('inner', bytes, null)],
  });
  assert.equal(generate(module(256)).length, 2);
  assert.throws(() => generate(module(264)), {
    message:
      /^outer needs 544 bytes of stack with what it calls: outer \(256 bytes\) → inner \(264 bytes\), each rounded/,
  });
});

test('more than eight functions on the stack at once are refused', () => {
  const chain = (length: number) =>
    Array.from({ length }, (_, index) =>
      build({ name: `f${index}`, spaces: [], linkage: 'static' }, (builder) => {
        const isLast = index === length - 1;
        const next = isLast ? null : builder.call({ kind: 'function', name: `f${index + 1}` }, []);
        builder.return(next ?? builder.constant(0));
      }),
    );
  assert.equal(generate({ files: [], functions: chain(8).reverse() }).length, 8);
  assert.throws(() => generate({ files: [], functions: chain(9).reverse() }), {
    message: 'f0 calls functions that call others, 9 deep with itself; 8 are allowed',
  });
});

test('recursion and calls to nowhere are refused', () => {
  const call = (builder: Builder, name: string) => builder.return(builder.call({ kind: 'function', name }, []));
  assert.throws(() => compile({ spaces: [] }, (builder) => call(builder, 'f')), {
    message: 'f calls itself (f → f): eBPF has no recursion',
  });
  assert.throws(() => compile({ spaces: [] }, (builder) => call(builder, 'g')), {
    message: 'f calls g, which is nowhere defined',
  });
});

test('a jump over more than 16 bits needs version 4 of the CPU', () => {
  const long = (builder: Builder) => {
    const [address] = builder.function.parameters;
    const [rest, next, other] = [builder.block(), builder.block(), builder.block()];
    builder.branch('eq', 64, builder.load(8, false, address), builder.constant(0), rest, next);
    builder.seal(rest);
    builder.seal(next);
    for (const [block, number] of [
      [rest, 1],
      [next, 2],
    ] as const) {
      builder.enter(block);
      for (let index = 0; index < 33000; index++) builder.store(8, address, builder.constant(number));
      builder.jump(other);
    }
    builder.seal(other);
    builder.enter(other);
    for (let index = 0; index < 10; index++) builder.store(8, address, builder.constant(3));
    builder.return(builder.constant(0));
  };
  assert.throws(() => compile({ spaces: ['mapValue'] }, long), { message: /^f has 66\d{3} instructions: a jump over/ });
  const { instructions } = compile({ spaces: ['mapValue'] }, long, { cpu: 4 });
  assert.ok(instructions.some(({ opcode }) => opcode === 0x06));
});
