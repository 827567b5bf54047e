/**
 * Room `cli`: `millrace bpf features`: what this kernel has for eBPF, and for what it lacks the reason: release, configuration, privilege.
 *
 * A newcomer would get wrong: nothing is looked up in a table of releases. Each thing is tried, and only a refusal is explained. That a
 * program loads does not say that it can be attached: that is tried, too.
 */
import { attachFeatures } from '../../bpf/loader/attach-features.ts';
import type { Feature } from '../../bpf/loader/feature.ts';
import { type KernelFeatures, kernelFeatures } from '../../bpf/loader/features.ts';
import { type CommonOptions, guarded, say } from './report.ts';

const COLUMNS = 100;

/** Names side by side, as many to a line as fit. */
function wrapped(names: readonly string[]): string {
  const lines: string[] = [];
  let line = '';
  for (const name of names) {
    if (line !== '' && line.length + name.length + 2 > COLUMNS) {
      lines.push(line);
      line = '';
    }
    line += `  ${name}`;
  }
  if (line !== '') lines.push(line);
  return lines.join('\n');
}

function section(title: string, features: Readonly<Record<string, Feature>>): string {
  const entries = Object.entries(features);
  const there = entries.filter(([, { available }]) => available).map(([name]) => name);
  const parts = [`${title}: ${there.length} of ${entries.length}`];
  if (there.length > 0) parts.push(wrapped(there));
  // Privileges are missing for many at once: said once.
  const reasons = new Map<string, string[]>();
  for (const [name, { available, reason }] of entries) {
    if (available) continue;
    const why = (reason ?? '').replace(new RegExp(`^(program type|hook|map type|link kind) ${name}\\b`), '$1 …');
    reasons.set(why, [...(reasons.get(why) ?? []), name]);
  }
  for (const [why, names] of reasons) {
    const [only] = names.length === 1 ? names : ['…'];
    parts.push(`  not ${names.join(', ')}\n    ${why.replace('…', only)}`);
  }
  return parts.join('\n');
}

function describe(features: KernelFeatures, attach: Readonly<Record<string, Feature>>): string {
  const { release, kernelTypes, programs, tracing, maps, links } = features;
  return [
    `Linux ${release}`,
    `kernel types (BTF): ${kernelTypes.available ? 'yes' : `no; ${kernelTypes.reason}`}`,
    section('program types that load', programs),
    section('tracing hooks for which programs load', tracing),
    section('tracing programs that can be attached', attach),
    section('map types', maps),
    section('link kinds', links),
  ].join('\n\n');
}

export async function features(options: CommonOptions): Promise<void> {
  await guarded(options, () => {
    const found = kernelFeatures();
    const attach = attachFeatures();
    say(options, describe(found, attach), { ...found, attach });
  });
}
