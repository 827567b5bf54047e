/**
 * Room `bpf`: the text form's table, one entry for each instruction: its name, its operands in order, and the fields that are
 * fixed. `assembler.ts` reads it from name to fields, `disassembler.ts` from fields to name, so the two cannot disagree.
 *
 * A newcomer would get wrong: several instructions share an opcode (`div` and `sdiv` differ in the offset, atomics in the
 * immediate), and several names mean one instruction (`swap16`, `bswap16`). The first name of the table is the one printed.
 */
import * as abi from '../kernel/bpf-abi.ts';
import { ADDRESS_CAST, CAST_TO_KERNEL, CAST_TO_USER, type Instruction, WIDE_LOAD } from './instructions.ts';

/**
 * What stands at an operand's place: a register, a number, `[register+offset]`, a place to jump to (in the offset, or for
 * `far` in the immediate), or the 64-bit value of a wide load.
 */
export type Operand = 'destination' | 'source' | 'immediate' | 'loaded' | 'stored' | 'branch' | 'far' | 'wide';

/** The fields of an instruction that are not its opcode. */
export type Field = Exclude<keyof Instruction, 'opcode'>;

/** Which fields an operand fills. */
export const fieldsOf: Readonly<Record<Operand, readonly Field[]>> = {
  destination: ['destination'],
  source: ['source'],
  immediate: ['immediate'],
  loaded: ['source', 'offset'],
  stored: ['destination', 'offset'],
  branch: ['offset'],
  far: ['immediate'],
  wide: ['source', 'immediate', 'nextImmediate'],
};

export interface Mnemonic {
  readonly name: string;
  readonly opcode: number;
  readonly operands: readonly Operand[];
  /** Fields that no operand fills and that are not 0. */
  readonly fixed: Readonly<Partial<Record<Field, number>>>;
}

const table: Mnemonic[] = [];

function add(name: string, opcode: number, operands: readonly Operand[], fixed: Mnemonic['fixed'] = {}): void {
  table.push({ name, opcode, operands, fixed });
}

/** 64-bit names have no suffix, 32-bit ones end in 32. */
const widths = [
  { suffix: '', arithmetic: abi.BPF_ALU64, jump: abi.BPF_JMP, size: abi.BPF_DW },
  { suffix: '32', arithmetic: abi.BPF_ALU, jump: abi.BPF_JMP32, size: abi.BPF_W },
] as const;

const arithmetic: Readonly<Record<string, number>> = {
  add: abi.BPF_ADD,
  sub: abi.BPF_SUB,
  mul: abi.BPF_MUL,
  div: abi.BPF_DIV,
  or: abi.BPF_OR,
  and: abi.BPF_AND,
  lsh: abi.BPF_LSH,
  rsh: abi.BPF_RSH,
  mod: abi.BPF_MOD,
  xor: abi.BPF_XOR,
  mov: abi.BPF_MOV,
  arsh: abi.BPF_ARSH,
};

const comparisons: Readonly<Record<string, number>> = {
  jeq: abi.BPF_JEQ,
  jgt: abi.BPF_JGT,
  jge: abi.BPF_JGE,
  jset: abi.BPF_JSET,
  jne: abi.BPF_JNE,
  jsgt: abi.BPF_JSGT,
  jsge: abi.BPF_JSGE,
  jlt: abi.BPF_JLT,
  jle: abi.BPF_JLE,
  jslt: abi.BPF_JSLT,
  jsle: abi.BPF_JSLE,
};

const sizes: Readonly<Record<string, number>> = { b: abi.BPF_B, h: abi.BPF_H, w: abi.BPF_W, dw: abi.BPF_DW };

function addArithmetic(): void {
  for (const { suffix, arithmetic: width } of widths) {
    for (const [name, code] of Object.entries(arithmetic)) {
      add(name + suffix, width | code | abi.BPF_X, ['destination', 'source']);
      add(name + suffix, width | code | abi.BPF_K, ['destination', 'immediate']);
    }
    for (const [name, code] of [['sdiv', abi.BPF_DIV] as const, ['smod', abi.BPF_MOD] as const]) {
      add(name + suffix, width | code | abi.BPF_X, ['destination', 'source'], { offset: 1 });
      add(name + suffix, width | code | abi.BPF_K, ['destination', 'immediate'], { offset: 1 });
    }
    add(`neg${suffix}`, width | abi.BPF_NEG, ['destination']);
    for (const from of [8, 16, 32]) {
      if (from === 32 && width === abi.BPF_ALU) continue;
      const name = `movsx${from}${width === abi.BPF_ALU ? 32 : 64}`;
      add(name, width | abi.BPF_MOV | abi.BPF_X, ['destination', 'source'], { offset: from });
    }
  }
  // As the kernel's own tests call them (tools/testing/selftests/bpf/bpf_arena_common.h).
  for (const [name, immediate] of [['cast_kern', CAST_TO_KERNEL] as const, ['cast_user', CAST_TO_USER] as const]) {
    const fixed = { offset: ADDRESS_CAST, immediate };
    add(name, abi.BPF_ALU64 | abi.BPF_MOV | abi.BPF_X, ['destination', 'source'], fixed);
  }
  for (const bits of [16, 32, 64]) {
    add(`le${bits}`, abi.BPF_ALU | abi.BPF_END | abi.BPF_TO_LE, ['destination'], { immediate: bits });
    add(`be${bits}`, abi.BPF_ALU | abi.BPF_END | abi.BPF_TO_BE, ['destination'], { immediate: bits });
    add(`bswap${bits}`, abi.BPF_ALU64 | abi.BPF_END, ['destination'], { immediate: bits });
    add(`swap${bits}`, abi.BPF_ALU64 | abi.BPF_END, ['destination'], { immediate: bits });
  }
}

function addJumps(): void {
  add('ja', abi.BPF_JMP | abi.BPF_JA, ['branch']);
  add('ja32', abi.BPF_JMP32 | abi.BPF_JA, ['far']);
  for (const { suffix, jump } of widths) {
    for (const [name, code] of Object.entries(comparisons)) {
      add(name + suffix, jump | code | abi.BPF_X, ['destination', 'source', 'branch']);
      add(name + suffix, jump | code | abi.BPF_K, ['destination', 'immediate', 'branch']);
    }
  }
  add('call', abi.BPF_JMP | abi.BPF_CALL, ['immediate']);
  add('call local', abi.BPF_JMP | abi.BPF_CALL, ['far'], { source: abi.BPF_PSEUDO_CALL });
  add('call kfunc', abi.BPF_JMP | abi.BPF_CALL, ['immediate'], { source: abi.BPF_PSEUDO_KFUNC_CALL });
  add('exit', abi.BPF_JMP | abi.BPF_EXIT, []);
}

function addMemory(): void {
  add('lddw', WIDE_LOAD, ['destination', 'wide']);
  for (const [letters, size] of Object.entries(sizes)) {
    add(`ldx${letters}`, abi.BPF_LDX | abi.BPF_MEM | size, ['destination', 'loaded']);
    add(`stx${letters}`, abi.BPF_STX | abi.BPF_MEM | size, ['stored', 'source']);
    add(`st${letters}`, abi.BPF_ST | abi.BPF_MEM | size, ['stored', 'immediate']);
    if (size === abi.BPF_DW) continue;
    add(`ldxs${letters}`, abi.BPF_LDX | abi.BPF_MEMSX | size, ['destination', 'loaded']);
    add(`ldabs${letters}`, abi.BPF_LD | abi.BPF_ABS | size, ['immediate']);
    add(`ldind${letters}`, abi.BPF_LD | abi.BPF_IND | size, ['source', 'immediate']);
  }
  for (const { suffix, size } of widths) {
    const opcode = abi.BPF_STX | abi.BPF_ATOMIC | size;
    for (const name of ['add', 'or', 'and', 'xor']) {
      const code = arithmetic[name];
      add(`lock ${name}${suffix}`, opcode, ['stored', 'source'], { immediate: code });
      add(`lock fetch ${name}${suffix}`, opcode, ['stored', 'source'], { immediate: code | abi.BPF_FETCH });
    }
    add(`lock xchg${suffix}`, opcode, ['stored', 'source'], { immediate: abi.BPF_XCHG });
    add(`lock cmpxchg${suffix}`, opcode, ['stored', 'source'], { immediate: abi.BPF_CMPXCHG });
  }
}

addArithmetic();
addJumps();
addMemory();

/** Every form; where two would fit an instruction, the first is printed. */
export const mnemonics: readonly Mnemonic[] = table;

/** The forms of a name, such as `add` with a register and with a number. */
export const mnemonicsByName: ReadonlyMap<string, readonly Mnemonic[]> = Map.groupBy(table, ({ name }) => name);

/** The forms of an opcode. */
export const mnemonicsByOpcode: ReadonlyMap<number, readonly Mnemonic[]> = Map.groupBy(table, ({ opcode }) => opcode);

/** The values of a wide load in RFC 9669's words (section 5.4, table 12), by the source field. */
export const wideForms: ReadonlyMap<number, { readonly open: string; readonly close: string; readonly next: boolean }> =
  new Map([
    [abi.BPF_PSEUDO_MAP_FD, { open: 'map_by_fd(', close: ')', next: false }],
    [abi.BPF_PSEUDO_MAP_VALUE, { open: 'map_val(map_by_fd(', close: '))', next: true }],
    [abi.BPF_PSEUDO_BTF_ID, { open: 'var_addr(', close: ')', next: false }],
    [abi.BPF_PSEUDO_FUNC, { open: 'code_addr(', close: ')', next: false }],
    [abi.BPF_PSEUDO_MAP_IDX, { open: 'map_by_idx(', close: ')', next: false }],
    [abi.BPF_PSEUDO_MAP_IDX_VALUE, { open: 'map_val(map_by_idx(', close: '))', next: true }],
  ]);
