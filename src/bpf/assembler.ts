/**
 * Room `bpf`: from assembler text to instructions. One instruction a line, `destination, source` in this order, as
 * bpf_conformance writes it:
 *
 *     loop:                        # labels end in a colon
 *       ldxw %r0, [%r1+4]
 *       lock fetch add [%r10-8], %r2
 *       lddw %r3, map_by_fd(5)     # RFC 9669's words for what a wide load can mean
 *       jne %r0, 0, loop           # or a distance in slots: +3
 *       call 5                     # a helper; `call local NAME`: a function of this program
 *       exit
 *
 * A newcomer would get wrong: `exit` may also be jumped to without a label of that name; it means an exit instruction. And a
 * 32-bit immediate is sign-extended by 64-bit instructions, so `mov %r0, 0xffffffff` is -1.
 */
import { BPF_EXIT, BPF_JMP, BPF_PSEUDO_FUNC } from '../kernel/bpf-abi.ts';
import { decode, type Instruction, instruction, REGISTERS, slotsOf } from './instructions.ts';
import { type Field, type Mnemonic, mnemonicsByName, type Operand, wideForms } from './mnemonics.ts';

/** A line that is no instruction. `message` begins with the line and the column. */
export class AssemblerError extends Error {
  override readonly name = 'AssemblerError';
  /** From 1. */
  readonly line: number;
  /** From 1, in characters. */
  readonly column: number;

  constructor(line: number, column: number, problem: string) {
    super(`${line}:${column}: ${problem}`);
    this.line = line;
    this.column = column;
  }
}

/** A piece of a line and where it begins. */
interface Piece {
  readonly text: string;
  readonly line: number;
  /** From 1. */
  readonly column: number;
}

type Fields = Partial<Record<Field, number>>;

/** A place that is known only when every label is. */
interface Pending {
  readonly piece: Piece;
  readonly label: string;
  readonly slot: number;
  readonly index: number;
  readonly field: 'offset' | 'immediate';
}

interface State {
  readonly instructions: Instruction[];
  readonly labels: Map<string, number>;
  readonly pending: Pending[];
  /** Slots of exit instructions. */
  readonly exits: number[];
  slot: number;
}

const patterns: Readonly<Record<Operand, RegExp>> = {
  destination: /^%?r\d+$/,
  source: /^%?r\d+$/,
  immediate: /^[-+]?(?:0[xX][\da-fA-F]+|\d+)$/,
  loaded: /^\[/,
  stored: /^\[/,
  branch: /^(?:[-+]\d+|[A-Za-z_.][\w.]*)$/,
  far: /^(?:[-+]\d+|[A-Za-z_.][\w.]*)$/,
  wide: /^(?:[-+]?(?:0[xX][\da-fA-F]+|\d+)|[a-z_]+\(.*)$/,
};

const words: Readonly<Record<Operand, string>> = {
  destination: 'a register (%r0 to %r10)',
  source: 'a register (%r0 to %r10)',
  immediate: 'a number',
  loaded: 'memory ([%r1+4])',
  stored: 'memory ([%r1+4])',
  branch: 'a label or a distance (+3)',
  far: 'a label or a distance (+3)',
  wide: 'a 64-bit number or map_by_fd(…), map_val(map_by_fd(…))+4, var_addr(…), code_addr(…)',
};

function fail(piece: Piece, problem: string): never {
  throw new AssemblerError(piece.line, piece.column, problem);
}

function integer(piece: Piece, text: string, low: bigint, high: bigint): bigint {
  const digits = text.replace(/^[-+]/, '');
  const value = text.startsWith('-') ? -BigInt(digits) : BigInt(digits);
  if (value < low || value > high) fail(piece, `${text} is not between ${low} and ${high}`);
  return value;
}

/** A 32-bit immediate, written with or without a sign: -1 and 0xffffffff are the same. */
function immediate(piece: Piece, text = piece.text): number {
  return Number(BigInt.asIntN(32, integer(piece, text, -0x80000000n, 0xffffffffn)));
}

function register(piece: Piece, text = piece.text): number {
  const number = Number(text.replace(/^%?r/, ''));
  return number < REGISTERS ? number : fail(piece, `${text} is no register: there are %r0 to %r10`);
}

function memory(piece: Piece): { readonly register: number; readonly offset: number } {
  const match = /^\[\s*(%?r\d+)\s*(?:([-+])\s*(0[xX][\da-fA-F]+|\d+)\s*)?\]$/.exec(piece.text);
  if (match === null) fail(piece, `“${piece.text}” is not memory; write [%r1+4]`);
  const [, name, sign = '+', distance = '0'] = match;
  return { register: register(piece, name), offset: Number(integer(piece, sign + distance, -32768n, 32767n)) };
}

function place(piece: Piece, text: string, field: 'offset' | 'immediate', state: State): Fields {
  if (/^[-+]/.test(text)) {
    const [low, high] = field === 'offset' ? [-32768n, 32767n] : [-0x80000000n, 0x7fffffffn];
    return { [field]: Number(integer(piece, text, low, high)) };
  }
  state.pending.push({ piece, label: text, slot: state.slot, index: state.instructions.length, field });
  return {};
}

function wide(piece: Piece, state: State): Fields {
  for (const [source, { open, close, next }] of wideForms) {
    const end = piece.text.indexOf(close);
    if (!piece.text.startsWith(open) || end === -1) continue;
    const inner = piece.text.slice(open.length, end);
    const rest = piece.text.slice(end + close.length);
    if (rest !== '' && !(next && /^[-+]\d+$/.test(rest))) fail(piece, `“${rest}” cannot follow ${open}…${close}`);
    const nextImmediate = rest === '' ? 0 : immediate(piece, rest);
    if (source === BPF_PSEUDO_FUNC) return { source, ...place(piece, inner, 'immediate', state) };
    if (!patterns.immediate.test(inner)) fail(piece, `“${inner}” is not a number`);
    return { source, immediate: immediate(piece, inner), nextImmediate };
  }
  if (!patterns.immediate.test(piece.text)) fail(piece, `“${piece.text}” is not ${words.wide}`);
  const value = integer(piece, piece.text, -0x8000000000000000n, 0xffffffffffffffffn);
  return { immediate: Number(BigInt.asIntN(32, value)), nextImmediate: Number(BigInt.asIntN(32, value >> 32n)) };
}

function operandFields(operand: Operand, piece: Piece, state: State): Fields {
  switch (operand) {
    case 'destination':
      return { destination: register(piece) };
    case 'source':
      return { source: register(piece) };
    case 'immediate':
      return { immediate: immediate(piece) };
    case 'loaded': {
      const found = memory(piece);
      return { source: found.register, offset: found.offset };
    }
    case 'stored': {
      const found = memory(piece);
      return { destination: found.register, offset: found.offset };
    }
    case 'branch':
      return place(piece, piece.text, 'offset', state);
    case 'far':
      return place(piece, piece.text, 'immediate', state);
    case 'wide':
      return wide(piece, state);
  }
}

/** The form whose operands look like those written; an error says at which operand the last candidate failed. */
function choose(name: Piece, forms: readonly Mnemonic[], operands: readonly Piece[]): Mnemonic {
  let best = { matched: -1, form: forms[0] };
  for (const form of forms) {
    const different = form.operands.findIndex((operand, index) => !patterns[operand].test(operands[index]?.text ?? ''));
    const matched = different === -1 ? form.operands.length : different;
    if (different === -1 && operands.length === form.operands.length) return form;
    if (matched > best.matched) best = { matched, form };
  }
  const { form, matched } = best;
  const extra = operands[form.operands.length];
  if (matched === form.operands.length && extra !== undefined) fail(extra, `${name.text} takes no “${extra.text}”`);
  const wanted = [...new Set(forms.flatMap(({ operands: kinds }) => words[kinds[matched]] ?? []))].join(' or ');
  const wrong = operands[matched];
  if (wrong === undefined) fail(name, `${name.text} needs ${wanted} as operand ${matched + 1}`);
  return fail(wrong, `“${wrong.text}” is not ${wanted}`);
}

/** The name, of up to three words (`lock fetch add`), and the operands between commas. */
function split(line: Piece): { readonly name: Piece; readonly operands: readonly Piece[] } {
  const match =
    /^(?:lock\s+fetch\s+\S+|lock\s+\S+|call\s+(?:local|kfunc)(?=\s)|\S+)/.exec(line.text) ?? fail(line, 'is empty');
  const name = { ...line, text: match[0].replace(/\s+/g, ' ') };
  const rest = line.text.slice(match[0].length);
  if (rest.trim() === '') return { name, operands: [] };
  let at = match[0].length;
  const operands = rest.split(',').map((part) => {
    const column = line.column + at + (part.length - part.trimStart().length);
    at += part.length + 1;
    return { text: part.trim(), line: line.line, column };
  });
  return { name, operands };
}

function append(state: State, added: Instruction): void {
  if (added.opcode === (BPF_JMP | BPF_EXIT)) state.exits.push(state.slot);
  state.instructions.push(added);
  state.slot += slotsOf(added);
}

/** `.word 0x…`: slots as 64-bit words, for what has no name. */
function appendWords(state: State, name: Piece, operands: readonly Piece[]): void {
  if (operands.length === 0) fail(name, '.word needs a 64-bit number');
  const view = new DataView(new ArrayBuffer(operands.length * 8));
  for (const [index, piece] of operands.entries()) {
    if (!patterns.immediate.test(piece.text)) fail(piece, `“${piece.text}” is not a number`);
    view.setBigUint64(index * 8, BigInt.asUintN(64, integer(piece, piece.text, 0n, 0xffffffffffffffffn)), true);
  }
  try {
    for (const found of decode(new Uint8Array(view.buffer))) append(state, found);
  } catch (error) {
    fail(name, (error as Error).message);
  }
}

function appendLine(state: State, line: Piece): void {
  const { name, operands } = split(line);
  if (name.text === '.word') {
    appendWords(state, name, operands);
    return;
  }
  const forms = mnemonicsByName.get(name.text);
  if (forms === undefined) fail(name, `“${name.text}” is no instruction`);
  const form = choose(name, forms, operands);
  const filled: Fields = { ...form.fixed };
  for (const [index, operand] of form.operands.entries()) {
    Object.assign(filled, operandFields(operand, operands[index], state));
  }
  append(state, instruction(form.opcode, filled));
}

function targetOf(state: State, { piece, label, slot }: Pending): number {
  const known = state.labels.get(label);
  if (known !== undefined) return known;
  if (label !== 'exit') fail(piece, `no label is called ${label}`);
  // Any exit of the same function would do; the next one below is in it unless the text is written upside down.
  return state.exits.find((at) => at > slot) ?? state.exits.at(-1) ?? fail(piece, 'there is no exit to jump to');
}

function resolve(state: State): void {
  for (const pending of state.pending) {
    const distance = targetOf(state, pending) - pending.slot - 1;
    if (pending.field === 'offset' && (distance < -32768 || distance > 32767)) {
      fail(pending.piece, `${pending.label} is ${distance} slots away, 16 bits are too few: use ja32`);
    }
    const old = state.instructions[pending.index];
    state.instructions[pending.index] = { ...old, [pending.field]: distance };
  }
}

/**
 * Reads a program. `#` and `;` begin comments.
 * @throws AssemblerError for the first line that is wrong
 */
export function assemble(text: string): Instruction[] {
  const state: State = { instructions: [], labels: new Map(), pending: [], exits: [], slot: 0 };
  for (const [index, whole] of text.split(/\r?\n/).entries()) {
    let rest = whole.replace(/[#;].*$/, '').trimEnd();
    let column = 1;
    for (
      let label = /^\s*([A-Za-z_.][\w.]*):/.exec(rest);
      label !== null;
      label = /^\s*([A-Za-z_.][\w.]*):/.exec(rest)
    ) {
      const piece = { text: label[1], line: index + 1, column: column + label[0].length - label[1].length - 1 };
      if (state.labels.has(label[1])) fail(piece, `the label ${label[1]} stands twice`);
      state.labels.set(label[1], state.slot);
      rest = rest.slice(label[0].length);
      column += label[0].length;
    }
    const instructionText = rest.trimStart();
    if (instructionText === '') continue;
    const at = column + rest.length - instructionText.length;
    appendLine(state, { text: instructionText, line: index + 1, column: at });
  }
  resolve(state);
  return state.instructions;
}
