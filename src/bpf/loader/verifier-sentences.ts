/**
 * Room `bpf`: the verifier's reasons as sentences. Each entry knows one form of the verifier's text (kernel/bpf/verifier.c, Linux 5.15
 * to 6.18) and says it in the terms of the language: variables, null, bounds, the packet.
 *
 * A newcomer would get wrong: the last line is not always the reason; `invalid access to packet` is followed by a line that says less.
 * So every line after the refused instruction is tried, in the order of this table.
 */
import type { Refusal } from './verifier-log.ts';
import type { Origin } from './verifier-trace.ts';

/** What is said about a refusal. */
export interface Explanation {
  readonly sentence: string;
  /** The verifier's own line. */
  readonly reason: string;
  /** The variable, and the register it lay in; null where the reason names none. */
  readonly variable: string | null;
  readonly register: number | null;
  /** What the verifier knew of that register, in its words. */
  readonly known: string | null;
}

/** What a sentence may ask for. */
interface Words {
  /** As `name` and `known`, of the variable from which the value was made where the register holds none itself. */
  origin(register: number): { readonly name: string; readonly known: string };
  /** ‘the variable `ip`’ or ‘the value in R2’. */
  name(register: number): string;
  /** What was known of a register, in plain words. */
  known(register: number): string;
  /** `line 12` for a slot, or null. */
  place(slot: number): string | null;
  /** What of the kernel a call of no helper stands for, or null. */
  missing(helper: number): string | null;
}

/** What is known of the source. */
export interface SourceNames extends Pick<Words, 'place' | 'missing'> {
  /** The variable from which a register's value was made, for a register that holds none itself. */
  origin(register: number): Origin | null;
  /** A register's variable, or null. */
  name(register: number): string | null;
}

type Rule = readonly [pattern: RegExp, say: (match: RegExpExecArray, words: Words) => string];

const bytes = (count: string | number): string => `${count} byte${Number(count) === 1 ? '' : 's'}`;

const limitPattern = /(?:umax(?:_value)?|umax32)=(0x[\da-f]+|\d+)/;
const checkedPattern = /\br=(\d+)/;

/** A state of the verifier's in plain words. */
export function describeState(known: string | null): string {
  if (known === null) return 'nothing';
  const kind = /^[a-z_A-Z-]+/.exec(known)?.[0] ?? '';
  if (/_or_null/.test(kind)) return 'a pointer that may be null';
  const checked = checkedPattern.exec(known)?.[1];
  if (kind === 'pkt') return `a place in the packet of which ${bytes(checked ?? 0)} are checked`;
  if (kind === 'pkt_meta') return `a place in the metadata of which ${bytes(checked ?? 0)} are checked`;
  if (kind === 'pkt_end') return 'the packet’s end';
  if (kind === 'ctx') return 'the context';
  if (kind === 'fp' || kind === 'fp-') return 'a place on the stack';
  if (kind === 'map_value') return describePlace('a map’s value', known);
  if (kind === 'map_ptr') return 'a map';
  const pointed = /^(?:trusted_|untrusted_|rcu_|percpu_)*ptr_(\w+)/.exec(known)?.[1];
  if (pointed !== undefined) return `a pointer to the kernel’s struct ${pointed}`;
  if (/^-?(?:\d+|0x[\da-f]+)$/.test(known)) return `the number ${known}`;
  if (kind === 'scalar' || kind === 'inv' || kind === 'P' || kind === 'Pscalar') return describeScalar(known);
  return known;
}

/** A pointer to which a number was added has the number's bounds. */
function describePlace(what: string, known: string): string {
  const bytes = /\bvs=(\d+)/.exec(known)?.[1];
  const high = /umax(?:_value)?=(0x[\da-f]+|\d+)/.exec(known)?.[1];
  const size = bytes === undefined ? '' : ` of ${bytes} bytes`;
  return high === undefined ? `${what}${size}` : `${what}${size}, at an offset of up to ${Number(high)}`;
}

function describeScalar(known: string): string {
  const constant = /^(?:P|inv|scalar\()?(-?\d+)\)?$/.exec(known)?.[1];
  if (constant !== undefined) return `the number ${constant}`;
  const low = /smin(?:_value)?=(-?\d+)/.exec(known)?.[1];
  const high = limitPattern.exec(known)?.[1];
  if (high !== undefined && (low === undefined || !low.startsWith('-')))
    return `a number from ${low ?? 0} to ${Number(high)}`;
  return 'any number';
}

/** `smin=9 smax=9` and the older `value (0x9; 0x0)` in plain words. */
function describeRange(text: string): string {
  const [, low, high] = /smin=(-?\d+) smax=(-?\d+)/.exec(text) ?? [];
  if (low === undefined) return text.trim();
  return low === high ? low : `from ${low} to ${high}`;
}

const pointerKinds: Readonly<Record<string, string>> = {
  scalar: 'a number and no pointer',
  inv: 'a number and no pointer',
  ctx: 'the context, which only fields that its type has may be read from',
  map_ptr: 'a map itself and not one of its values',
  pkt_end: 'the packet’s end, which may only be compared with',
  fp: 'a place on the stack',
};

/** In order: the more telling first. */
const rules: readonly Rule[] = [
  [
    /invalid access to packet, off=(-?\d+) size=(\d+), R(\d+)/,
    ([, offset, size, register], { name, known }) =>
      `${bytes(size)} at offset ${offset} of ${name(+register)} are used without a check that the packet reaches so far; ` +
      `known: ${known(+register)}`,
  ],
  [
    /R(\d+) invalid mem access '(\w+_or_null\w*)'/,
    ([, register], { name }) => `${name(+register)} may be null here: compare it with null before using it`,
  ],
  [
    /R(\d+) invalid mem access '(\w+)'/,
    ([, register, kind], { name }) => `${name(+register)} is ${pointerKinds[kind] ?? kind}: it cannot be followed here`,
  ],
  [
    /R(\d+) !read_ok/,
    ([, register], { name }) =>
      `${name(+register)} has no value on a path that leads here: a call clears it, or it was never set`,
  ],
  [
    /invalid access to (?:map value|memory), (?:value_size|mem_size)=(\d+) off=(-?\d+) size=(\d+)/,
    ([, total, offset, size]) => `${bytes(size)} at offset ${offset} lie outside of a value of ${bytes(total)}`,
  ],
  [
    /R(\d+) (?:min value is negative|unbounded memory access|(?:min|max) value is outside of the allowed memory range)/,
    ([, register], { origin }) => {
      const { name, known } = origin(+register);
      return `${name} is used as a place or a length, but its bounds are not known well enough; known: ${known}`;
    },
  ],
  [
    /math between (\w+) pointer and register with unbounded min value is not allowed/,
    ([, kind]) => `a number without known bounds is added to a pointer (${kind}): compare it with its limit first`,
  ],
  [
    /R(\d+) (?:\w+ )?pointer arithmetic on (\w+) prohibited/,
    ([, register, kind], { name }) =>
      /or_null/.test(kind)
        ? `${name(+register)} may be null here: compare it with null before reckoning with it`
        : `${name(+register)} is a pointer of a kind (${kind}) with which no arithmetic is allowed`,
  ],
  [
    /Unreleased reference id=\d+ alloc_insn=(\d+)/,
    ([, slot], { place }) =>
      `what was acquired${place(+slot) === null ? '' : ` at ${place(+slot)}`} is not released on every path: submit, discard or release it`,
  ],
  [
    /R(\d+) type=(\S+) expected=(.+)/,
    ([, register, is, expected], { name }) =>
      `argument ${register} of the call, ${name(+register)}, is of the kind ${is}, but ${expected.trim()} is expected`,
  ],
  [
    /(?:invalid|unbounded)(?: indirect| variable-offset)? (?:read|access|write)(?: of size \d+)? (?:from|to|into) stack/,
    () => 'memory on the stack is used that has no value yet, or that lies outside of the variable',
  ],
  [
    /combined stack size of (\d+) calls is (\d+)/,
    ([, calls, size]) => `${calls} nested calls take ${size} bytes of stack: 512 are allowed`,
  ],
  [
    /At program exit the register R\d+ has (.*) should have been in \[(-?\d+), (-?\d+)\]/,
    ([, is, low, high]) =>
      `the program returns a value that its type does not allow (${describeRange(is)}): ${low} to ${high} are allowed`,
  ],
  [
    /At program exit the register R0 has (.*)/,
    ([, is]) => `the program returns a value that its type does not allow: ${is}`,
  ],
  [
    /invalid bpf_context access off=(\d+) size=(\d+)/,
    ([, offset, size]) =>
      `${bytes(size)} at offset ${offset} of the context may not be used so in a program of this type`,
  ],
  [/misaligned (\w+) access/, ([, kind]) => `an access to the ${kind} is not aligned to its size`],
  [
    /(?:unknown|invalid) func (\w+)#(\d+)|program of this type cannot use helper (\w+)#(\d+)/,
    ([, unknown, number, known, other], { missing }) =>
      missing(Number(number)) ??
      `the helper bpf_${(unknown ?? known).replace(/^bpf_/, '')} (${number ?? other}) is not there for programs of this type here`,
  ],
  [
    /program must be sleepable to call sleepable kfunc (\w+)/,
    ([, name]) =>
      `the kernel’s ${name} may sleep here, and this program may not: call it in a syscall program or another that may`,
  ],
  [
    /cannot call GPL-restricted function/,
    () => 'a helper for GPL-compatible programs is called: declare such a licence',
  ],
  [
    /failed to find the address for kernel symbol '(\w+)'/,
    ([, symbol]) => `this kernel does not tell where its variable ${symbol} lies: CONFIG_KALLSYMS_ALL is needed`,
  ],
  [
    /infinite loop detected/,
    () => 'a loop does not come nearer to its end: count with a variable that is compared with a constant',
  ],
  [/back-edge from insn (\d+) to (\d+)/, () => 'a loop is used, which this kernel or kind of program does not allow'],
  [
    /BPF program is too large\. Processed (\d+) insn/,
    ([, count]) =>
      `the verifier gave up after ${count} steps: bound the loops more tightly, or move their body into bpf_loop`,
  ],
  [
    /The sequence of (\d+) jumps is too complex/,
    ([, count]) => `more than ${count} branches are open at once: split the function up`,
  ],
  [
    /R(\d+) is not a (?:known constant|const)/,
    ([, register], { name }) => `${name(+register)} must be a constant here`,
  ],
  [/leaks addr|R(\d+) leaks/, () => 'a pointer is written or returned where user space could read it'],
];

function firstRule(refusal: Refusal): readonly [RegExpExecArray, Rule[1]] | null {
  for (const [pattern, say] of rules) {
    for (const line of refusal.reasons) {
      const match = pattern.exec(line);
      if (match !== null) return [match, say];
    }
  }
  return null;
}

/** Says it. */
export function sentenceOf(refusal: Refusal, source: SourceNames): Explanation {
  const knownOf = (register: number): string | null =>
    refusal.registers.find((state) => state.register === register)?.known ?? null;
  const words: Words = {
    origin(register) {
      const origin = source.name(register) === null ? source.origin(register) : null;
      if (origin === null) return { name: words.name(register), known: words.known(register) };
      return { name: `“${origin.variable}”`, known: describeState(origin.known) };
    },
    name(register) {
      const name = source.name(register);
      return name === null ? `the value in R${register}` : `“${name}”`;
    },
    known: (register) => describeState(knownOf(register)),
    place: (slot) => source.place(slot),
    missing: (helper) => source.missing(helper),
  };
  const found = firstRule(refusal);
  const mentioned = /\bR(\d+)\b/.exec(found?.[0][0] ?? refusal.reason)?.[1];
  const register = mentioned === undefined ? null : Number(mentioned);
  const subject = register === null ? null : source.name(register);
  const sentence = found === null ? plain(refusal, register, words) : found[1](found[0], words);
  return {
    sentence,
    reason: found?.[0].input ?? refusal.reason,
    variable: subject,
    register,
    known: register === null ? null : knownOf(register),
  };
}

/** For reasons that no rule knows: the verifier's words, with the register's name and state where it mentions one. */
function plain(refusal: Refusal, register: number | null, words: Words): string {
  const about = register === null ? '' : ` (R${register} is ${words.name(register)}, known: ${words.known(register)})`;
  return `the verifier says: ${refusal.reason}${about}`;
}
