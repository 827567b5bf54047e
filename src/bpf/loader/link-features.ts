/**
 * Room `bpf`: which kinds of links the running kernel has.
 *
 * A newcomer would get wrong: a kind is not tried out, because a link cannot be made without a real hook. The kernel's types name the
 * kinds that its source has, and its configuration says which of them were built.
 */
import type { LinkTypeName } from '../../kernel/bpf-names.ts';
import { kernelBtf } from '../object/btf/kernel.ts';
import { AVAILABLE, explainError, explainMissing, type Feature, missing } from './feature.ts';
import { LINK_FACTS } from './feature-facts.ts';
import { kernelConfig } from './kernel-config.ts';

/** Whether the kernel has a kind of link: its own types and options say so, because none can be made without a real hook. */
export function linkFeature(kind: LinkTypeName): Feature {
  const fact = LINK_FACTS[kind];
  try {
    const name = `BPF_LINK_TYPE_${kind.toUpperCase()}`;
    const ids = kernelBtf().byName('bpf_link_type', 'enum');
    const isKnown = ids.some((id) => {
      const type = kernelBtf().type(id);
      return type.kind === 'enum' && type.values.some((value) => value.name === name);
    });
    if (!isKnown) return explainMissing(`link kind ${kind}`, fact, 'its types do not name it');
  } catch (error) {
    return explainError(`link kind ${kind}`, fact, error);
  }
  const [, option] = fact;
  const config = kernelConfig();
  const isOff = option !== null && config !== null && !config.has(option);
  return isOff ? missing(`link kind ${kind} needs ${option}, which is not set in this kernel`) : AVAILABLE;
}
