/**
 * Room `bpf`: one thing that a kernel has or lacks, and the sentence that says why it is lacking.
 *
 * A newcomer would get wrong: a refusal alone says little. EPERM may be this process's own lack of privileges or the kernel's will for
 * everybody; EINVAL an old release, an option that is off, or neither.
 */
import { KernelError } from '../../kernel/error.ts';
import { atLeast, kernelVersion } from '../../kernel/procfs.ts';
import type { Fact } from './feature-facts.ts';
import { kernelConfig } from './kernel-config.ts';

/** Whether the kernel has something, and if not, why. */
export interface Feature {
  readonly available: boolean;
  /** One sentence; null for what is there. */
  readonly reason: string | null;
}

/** It is there. */
export const AVAILABLE: Feature = { available: true, reason: null };
/** It is not there, and why. */
export const missing = (reason: string): Feature => ({ available: false, reason });

/** Why a kernel says EINVAL or ENOTSUPP to something: its release, its configuration, or neither. */
export function explainMissing(what: string, [since, option]: Fact, said: string): Feature {
  const version = kernelVersion();
  const [major, minor] = since.split('.').map(Number);
  if (!atLeast(version, major, minor)) return missing(`${what} needs Linux ${since}; this is ${version.release}`);
  const config = kernelConfig();
  if (option !== null && config !== null && !config.has(option)) {
    return missing(`${what} needs ${option}, which is not set in this kernel`);
  }
  return missing(`${what} is not in this kernel (${said})`);
}

/** Why an attempt failed. */
export function explainError(what: string, fact: Fact, error: unknown): Feature {
  if (!(error instanceof KernelError)) {
    return missing(`${what} cannot be tried: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (error.code === 'EPERM' || error.code === 'EACCES')
    return missing(`${what}: ${error.code}; ${error.remedy ?? ''}`);
  return explainMissing(what, fact, error.code);
}
