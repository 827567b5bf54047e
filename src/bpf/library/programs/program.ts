/**
 * Room `bpf`: how the program constructors are made from their definitions.
 *
 * A newcomer would get wrong: the body is never called in user space. A constructor gives a description there, from which
 * `load<typeof import('./x.bpf.ts')>` knows which programs there are and where each can be attached.
 */
import type { ContextLayout } from '../contexts/context.ts';
import type { ContextDefinition, ProgramDefinition } from '../definitions.ts';
import { define } from '../registry.ts';

/** A program. `Hook` is its constructor's name. */
export interface Program<Hook extends string = string> {
  readonly kind: 'program';
  readonly hook: Hook;
  /** As in enum bpf_prog_type, lower case. */
  readonly type: string;
  /** As in enum bpf_attach_type, lower case, without BPF_. */
  readonly attachType: string | null;
  /** The tracepoint, function or file's symbol that it names; null where it names none. */
  readonly target: string | null;
}

/** BPF_F_SLEEPABLE: it may fault in pages and so read the memory of processes. */
export const SLEEPABLE = 0x10;
/** BPF_F_XDP_HAS_FRAGS: packets that do not lie in one piece reach it, too. */
export const HAS_FRAGMENTS = 0x20;

type Rule = Pick<ProgramDefinition, 'name' | 'type' | 'attachType' | 'section'> &
  Partial<Pick<ProgramDefinition, 'target' | 'flags' | 'verdicts' | 'defaultResult'>>;

function complete(rule: Rule, context: ContextDefinition): ProgramDefinition {
  return { kind: 'program', target: null, flags: 0, verdicts: null, defaultResult: null, ...rule, context };
}

function describe<N extends string>(definition: ProgramDefinition, hook: N, target: string | null): Program<N> {
  const { type, attachType } = definition;
  return Object.freeze({ kind: 'program', hook, type, attachType, target });
}

/** What a context is, from its layout; `writable` where this kind of program may write fewer of the fields than the layout says. */
export const structContext = (
  { context }: ContextLayout<unknown>,
  writable: readonly string[] = context.writable,
  behind?: 'usdtArguments',
): ContextDefinition => ({
  kind: 'struct',
  struct: { ...context, writable },
  ...(behind === undefined ? {} : { behind }),
});

/** `xdp((context) => …)`. */
export type Direct<N extends string, C, R> = (body: (context: C) => R) => Program<N>;

/** A constructor without a target. A body may end without a return where the definition has a default result. */
export function direct<N extends string, C, R = number>(
  rule: Rule & { readonly name: N },
  context: ContextDefinition,
): Direct<N, C, R> {
  const definition = complete(rule, context);
  return define((_body: (context: C) => R) => describe(definition, rule.name, null), definition);
}

/** A constructor whose first argument names the hook, with whatever parameters its body has. */
export function targeted<N extends string>(
  rule: Rule & { readonly name: N },
  context: ContextDefinition,
): (target: string, body: unknown) => Program<N> {
  const definition = complete(rule, context);
  return define((target: string, _body: unknown) => describe(definition, rule.name, target), definition);
}
