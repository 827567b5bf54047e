/**
 * Room `bpf`: reads the verifier's log (kernel/bpf/verifier.c, kernel/bpf/log.c): which instruction it refused, why, and what it knew of
 * the registers there.
 *
 * A newcomer would get wrong: the number before an instruction counts slots, not instructions; and the log is a walk through the
 * program, so that the last instruction printed is the refused one, but what is known of a register may stand many lines before.
 */

/** A register as the verifier knew it: `pkt(r=0)`, `scalar(umax=255)`. */
export interface RegisterState {
  readonly register: number;
  readonly known: string;
}

/** What a log of a refusal says. */
export interface Refusal {
  /** The reason in the verifier's words, one line. */
  readonly reason: string;
  /** All lines after the last instruction that are not statistics. */
  readonly reasons: readonly string[];
  /** The slot of the refused instruction, null where none was reached (a wrong table, an unknown attach target). */
  readonly slot: number | null;
  /** The instruction as the log has it: `r0 = *(u8 *)(r2 +0)`. */
  readonly instruction: string | null;
  readonly registers: readonly RegisterState[];
  /** The instructions on the way there, the refused one last; as many as are of use. */
  readonly steps: readonly LogStep[];
}

/** An instruction that the verifier printed, and what it noted behind it. */
export interface LogStep {
  readonly slot: number;
  readonly text: string;
  readonly comment: string;
}

const STEPS_MAX = 256;

function stepsIn(lines: readonly string[]): LogStep[] {
  return lines.slice(-STEPS_MAX * 4).flatMap((line) => {
    const [, slot, text, comment = ''] = INSTRUCTION.exec(line) ?? [];
    return slot === undefined ? [] : [{ slot: Number(slot), text, comment }];
  });
}

const STATISTICS =
  /^(?:processed \d+ insns|verification time|stack depth|mark_precise|max_states|peak_states|total_states)/;
const INSTRUCTION = /^(\d+): \([0-9a-f]{2}\) (.*?)\s*(?:; (.*))?$/;
/** `func#0 @0`, `from 3 to 7: R0=…`, `3: R0=…`, `; source line @ file:1`, `caller:`: the walk itself. */
const WALK = new RegExp(
  [
    String.raw`^(?:func#\d+ @\d+|from \d+ to \d+|\d+: |;|caller:|callee:|returning from callee|to caller at|arg#\d+ |`,
    'last_idx|regs=|parent |propagating|mark_)',
  ].join(''),
);
/** Longer than the states of any program; bounds the search for a register's last state. */
const LINES_BACK_MAX = 20_000;

/** The states in a piece of the log: `R1=ctx() R2_w=pkt(r=0) fp-8=mmmmmmmm`. Parentheses nest: `var_off=(0x0; 0xff)`. */
export function registersIn(text: string): RegisterState[] {
  const found: RegisterState[] = [];
  for (const match of text.matchAll(/(?<![\w-])[Rr](\d+)(?:_[a-zA-Z]+)?=/g)) {
    const begin = match.index + match[0].length;
    let end = begin;
    let depth = 0;
    for (; end < text.length && (depth > 0 || text[end] !== ' '); end++) {
      if (text[end] === '(') depth++;
      else if (text[end] === ')') depth--;
    }
    found.push({ register: Number(match[1]), known: text.slice(begin, end) });
  }
  return found;
}

function isStatistics(line: string): boolean {
  return STATISTICS.test(line);
}

/** Whether a log gives no reason: at most it counts what was looked at. What refused the program was not the verifier then. */
export function isSilent(log: string): boolean {
  return log.split('\n').every((line) => line.trim() === '' || isStatistics(line));
}

/** The line of a log that says why: the last one that is not statistics. */
export function reasonOf(log: string): string {
  const lines = log.split('\n').filter((line) => line.trim() !== '');
  return lines.findLast((line) => !isStatistics(line)) ?? 'nothing';
}

function lastStates(lines: readonly string[], from: number): RegisterState[] {
  const states = new Map<number, string>();
  for (let index = from; index >= 0 && index > from - LINES_BACK_MAX; index--) {
    const line = lines[index];
    // States are found in the comment behind an instruction and in the lines that print a whole state.
    const [, , , comment] = INSTRUCTION.exec(line) ?? [];
    const text = comment ?? (/^(?:from \d+ to \d+|\d+): [Rr]\d/.test(line) ? line : '');
    for (const { register, known } of registersIn(text)) {
      if (!states.has(register)) states.set(register, known);
    }
    // A line of its own begins a path with everything that is known there.
    if (comment === undefined && text !== '') break;
  }
  return [...states].map(([register, known]) => ({ register, known }));
}

/** Takes a log apart. Total: whatever the text is, something is said. */
export function readLog(log: string): Refusal {
  const lines = log.split('\n').filter((line) => line.trim() !== '' && !isStatistics(line));
  const at = lines.findLastIndex((line) => INSTRUCTION.test(line));
  const [, slot, instruction] = at === -1 ? [] : INSTRUCTION.exec(lines[at])!;
  const reasons = lines.slice(at + 1).filter((line) => !WALK.test(line));
  return {
    reason: reasons.at(-1) ?? reasonOf(log),
    reasons,
    slot: slot === undefined ? null : Number(slot),
    instruction: instruction ?? null,
    // The refused instruction's own comment tells what it would have made, so the state before it counts.
    registers: at === -1 ? [] : lastStates(lines, at - 1),
    steps: stepsIn(lines.slice(0, at + 1)),
  };
}
