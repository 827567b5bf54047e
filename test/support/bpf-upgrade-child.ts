/**
 * Test support: one start of a program that outlives its processes: `node bpf-upgrade-child.ts DIRECTORY VERSION INTERFACE`. It loads its
 * version, takes over the link that is pinned below DIRECTORY or makes one, and ends.
 */
import { join } from 'node:path';
import { load, openLink } from '../../src/bpf/index.ts';
import { Link } from '../../src/bpf/loader/links/link.ts';

const [directory, version, device] = process.argv.slice(2);
const source = new URL('../bpf/hooks/upgrade.bpf.ts', import.meta.url);
using object = await load<typeof import('../bpf/hooks/upgrade.bpf.ts')>(source, {
  programs: ['inStack'],
  constants: { version: Number(version) },
  pinDirectory: directory,
});
const { inStack } = object.programs;
inStack.pin(join(directory, `program${version}`));
using former = openLink(join(directory, 'link'));
if (former !== null) {
  former.update(inStack);
} else {
  using link = inStack.attach({ interface: device });
  if (!(link instanceof Link)) throw new TypeError(`${link.kind} is no link`);
  link.pin(join(directory, 'link'));
}
