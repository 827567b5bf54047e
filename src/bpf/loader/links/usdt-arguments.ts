/**
 * Room `bpf`: where the arguments of a USDT probe lie, from the notation in its ELF note: `-4@%edi 8@-16(%rbp) 4@$5`, for x86-64 and arm64.
 *
 * A newcomer would get wrong: what stands behind the @ is an operand as the compiler wrote it for the assembler, so it has all the forms
 * that an instruction's operand can have there. Before it stand the bytes, negative for a signed value (systemtap's sys/sdt.h).
 */
import { pt_regs } from '../../library/contexts/tracing.ts';
import { fieldOf } from '../../types.ts';
import { type Executable, ProbeError, type UsdtProbe } from './executable.ts';

const EM_X86_64 = 62;
const EM_AARCH64 = 183;

/** One argument: a sum of a number and registers, or what lies in the process's memory at that sum. */
export interface UsdtArgument {
  readonly displacement: bigint;
  /** A register's place in pt_regs, in bytes. */
  readonly base: number | null;
  readonly index: number | null;
  /** The index is shifted left by so many bits. */
  readonly scale: number;
  readonly inMemory: boolean;
  readonly bytes: 1 | 2 | 4 | 8;
  readonly signed: boolean;
}

/** What is said about a form that is not known. */
class FormError extends Error {}

/** A register: where it lies in pt_regs and how many bytes of it are meant. */
interface Register {
  readonly at: number;
  readonly bytes: 1 | 2 | 4 | 8;
}

type Where = Pick<UsdtArgument, 'displacement' | 'base' | 'index' | 'scale' | 'inMemory'> & {
  /** Of a register that is narrower than the argument. */
  readonly bytes?: Register['bytes'];
};

const NOWHERE: Where = { displacement: 0n, base: null, index: null, scale: 0, inMemory: false };

/** What is asked of a file: for what it is, and where its variables lie. */
export type ProbedFile = Pick<Executable, 'path' | 'machine' | 'isMovable' | 'variableAddress'>;

/** How one processor's operands are read. */
type ReadOperand = (operand: string, at: { readonly file: ProbedFile; readonly probe: UsdtProbe }) => Where;

// x86-64, in the AT&T notation of the GNU assembler.

/** Names of the registers of 64, 32, 16 and 8 bits, and of the second byte of some. */
function registersOfX86(): ReadonlyMap<string, Register> {
  const found = new Map<string, Register>();
  const add = (field: string, names: readonly string[]): void => {
    const at = fieldOf(pt_regs.type, field)?.offset ?? 0;
    for (const [index, name] of names.entries()) {
      if (index === 4) found.set(name, { at: at + 1, bytes: 1 });
      else found.set(name, { at, bytes: ([8, 4, 2, 1] as const)[index] });
    }
  };
  for (const letter of ['a', 'b', 'c', 'd']) {
    add(`${letter}x`, [`r${letter}x`, `e${letter}x`, `${letter}x`, `${letter}l`, `${letter}h`]);
  }
  for (const name of ['si', 'di', 'bp', 'sp']) add(name, [`r${name}`, `e${name}`, name, `${name}l`]);
  for (let number = 8; number < 16; number++) {
    const name = `r${number}`;
    add(name, [name, `${name}d`, `${name}w`, `${name}b`]);
  }
  add('ip', ['rip', 'eip']);
  return found;
}

const x86Registers = registersOfX86();

function x86Register(name: string): Register {
  const register = x86Registers.get(name);
  if (register !== undefined) return register;
  const isVector = /^(?:[xyz]mm|mm|k|st)\d*$/.test(name);
  throw new FormError(
    isVector
      ? `%${name} is a register of the vector or floating-point unit, which programs do not see`
      : `there is no general register %${name}`,
  );
}

/** An address or a number: decimal or hexadecimal numbers and at most one symbol, added and subtracted. */
function sumOf(text: string, file: ProbedFile): { readonly number: bigint; readonly symbol: number | null } {
  if (text === '') throw new FormError('a number or a symbol is missing');
  let number = 0n;
  let symbol: number | null = null;
  let at = 0;
  for (const [whole, sign, term] of text.matchAll(/([+-]?)(0x[\da-f]+|\d+|[A-Za-z_.][\w.$]*(?:@\w+)?)/gi)) {
    const isFirst = at === 0;
    if (text.indexOf(whole, at) !== at || (sign === '' && !isFirst)) throw new FormError(`${text} is no sum`);
    at += whole.length;
    if (/^\d/.test(term)) {
      number += sign === '-' ? -BigInt(term) : BigInt(term);
      continue;
    }
    if (sign === '-' || symbol !== null) throw new FormError(`${text} is no address`);
    symbol = file.variableAddress(term);
    if (symbol === null)
      throw new FormError(`the file has no symbol of a variable ${term}: it was stripped, or is not the file’s`);
  }
  if (at !== text.length) throw new FormError(`${text} is no number and no symbol`);
  return { number, symbol };
}

/** A sum that is known whatever the file is loaded at. */
function fixedSum(text: string, file: ProbedFile): bigint {
  const { number, symbol } = sumOf(text, file);
  if (symbol === null) return number;
  if (file.isMovable) throw new FormError(`the address ${text} is not known before the file is loaded`);
  return number + BigInt(symbol);
}

const readX86: ReadOperand = (operand, { file, probe }) => {
  if (operand.startsWith('$')) return { ...NOWHERE, displacement: fixedSum(operand.slice(1), file) };
  const register = /^%(\w+)$/.exec(operand);
  if (register !== null) {
    const { at, bytes } = x86Register(register[1]);
    return { ...NOWHERE, base: at, bytes };
  }
  if (/^%\w+:/.test(operand)) throw new FormError('memory of a segment (thread-local storage) cannot be read');
  const memory = /^([^()]*)\(\s*(?:%(\w+))?\s*(?:,\s*%(\w+)\s*(?:,\s*([1248])\s*)?)?\)$/.exec(operand);
  if (memory === null) {
    if (/[()%]/.test(operand)) throw new FormError('this form of operand is not known');
    return { ...NOWHERE, displacement: fixedSum(operand, file), inMemory: true };
  }
  const [, displacement, base, index, scale = '1'] = memory;
  if (base === 'rip') {
    const { number, symbol } = sumOf(displacement, file);
    if (symbol === null || index !== undefined) throw new FormError('an address beside %rip is given by a symbol');
    // Symbol and probe move together, and the register holds the probe's address when it is hit.
    const distance = number + BigInt(symbol) - BigInt(probe.address);
    return { ...NOWHERE, displacement: distance, base: x86Register('rip').at, inMemory: true };
  }
  const wide = (name: string | undefined): number | null => {
    if (name === undefined) return null;
    const { at, bytes } = x86Register(name);
    if (bytes !== 8) throw new FormError(`%${name} has ${bytes * 8} bits, and addresses have 64`);
    return at;
  };
  return {
    displacement: displacement.trim() === '' ? 0n : fixedSum(displacement.trim(), file),
    base: wide(base),
    index: wide(index),
    scale: Math.log2(Number(scale)),
    inMemory: true,
  };
};

// arm64. Its pt_regs begins with struct user_pt_regs (arch/arm64/include/uapi/asm/ptrace.h): x0 to x30, sp, pc, pstate.

const ARM_SP = 31 * 8;

/** The register of a name; null for the one that is always zero. */
function armRegister(name: string): Register | null {
  if (name === 'xzr' || name === 'wzr') return null;
  if (name === 'sp' || name === 'wsp') return { at: ARM_SP, bytes: name === 'sp' ? 8 : 4 };
  if (name === 'fp') return { at: 29 * 8, bytes: 8 };
  if (name === 'lr') return { at: 30 * 8, bytes: 8 };
  const [, letter, digits] = /^([xw])(\d{1,2})$/.exec(name) ?? [];
  if (letter !== undefined && Number(digits) <= 30) return { at: Number(digits) * 8, bytes: letter === 'x' ? 8 : 4 };
  throw new FormError(
    /^[bhsdqv]\d+/.test(name)
      ? `${name} is a register of the vector or floating-point unit, which programs do not see`
      : `there is no general register ${name}`,
  );
}

const readArm: ReadOperand = (operand) => {
  const number = /^#?(-?(?:0x[\da-f]+|\d+))$/i.exec(operand);
  if (number !== null) return { ...NOWHERE, displacement: signedNumber(number[1]) };
  if (/^\w+$/.test(operand)) {
    const register = armRegister(operand);
    return register === null ? NOWHERE : { ...NOWHERE, base: register.at, bytes: register.bytes };
  }
  const memory =
    /^\[\s*(\w+)\s*(?:,\s*(?:#?(-?(?:0x[\da-f]+|\d+))|(x\d+|xzr|fp|lr)\s*(?:,\s*lsl\s+#?(\d))?)\s*)?\]$/i.exec(operand);
  if (memory === null) throw new FormError('this form of operand is not known');
  const [, baseName, displacement = '0', indexName, scale = '0'] = memory;
  const base = armRegister(baseName);
  if (base?.bytes === 4) throw new FormError(`${baseName} has 32 bits, and addresses have 64`);
  return {
    displacement: signedNumber(displacement),
    base: base?.at ?? null,
    index: indexName === undefined ? null : (armRegister(indexName)?.at ?? null),
    scale: Number(scale),
    inMemory: true,
  };
};

/** BigInt() takes no sign before a hexadecimal number. */
function signedNumber(text: string): bigint {
  return text.startsWith('-') ? -BigInt(text.slice(1)) : BigInt(text);
}

const processors: ReadonlyMap<number, ReadOperand> = new Map([
  [EM_X86_64, readX86],
  [EM_AARCH64, readArm],
]);

/** Blanks part arguments, except within the brackets of an operand: `8@[sp, 16] -4@w0`. */
function splitArguments(text: string): string[] {
  return text
    .trim()
    .split(/\s+(?![^([]*[)\]])/)
    .filter((part) => part !== '');
}

function parseOne(text: string, at: Parameters<ReadOperand>[1], read: ReadOperand): UsdtArgument {
  const sized = /^(-?)(\d+)(f?)@(.*)$/.exec(text);
  // Notes of the oldest kind give no size: a register's is meant.
  const [, sign, size, float, operand] = sized ?? ['', '', '8', '', text];
  if (float !== '') throw new FormError('a floating-point number cannot be read');
  const stated = Number(size);
  if (stated !== 1 && stated !== 2 && stated !== 4 && stated !== 8) {
    throw new FormError(`it has ${size} bytes: 1, 2, 4 and 8 are known`);
  }
  const { bytes: narrow = 8, ...where } = read(operand, at);
  // What lies above a narrow register is not the argument's.
  const bytes = Math.min(narrow, stated) as UsdtArgument['bytes'];
  return { ...where, displacement: BigInt.asIntN(64, where.displacement), bytes, signed: sign === '-' };
}

/**
 * The arguments of a probe at one place.
 * @throws ProbeError that names the probe and the argument whose form is not known
 */
export function usdtArguments(file: ProbedFile, probe: UsdtProbe): UsdtArgument[] {
  const read = processors.get(file.machine);
  const parts = splitArguments(probe.arguments);
  if (read === undefined && parts.length > 0) {
    throw new ProbeError(
      `${file.path} is for a processor (ELF machine ${file.machine}) whose USDT arguments are not known`,
    );
  }
  return parts.map((text, index) => {
    try {
      return parseOne(text, { file, probe }, read as ReadOperand);
    } catch (error) {
      if (!(error instanceof FormError)) throw error;
      throw new ProbeError(
        `argument ${index} of the probe ${probe.provider}:${probe.name} in ${file.path} is at “${text}”: ${error.message}`,
      );
    }
  });
}
