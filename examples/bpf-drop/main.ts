/**
 * Shows a program in the kernel from TypeScript: loads drop.bpf.ts, attaches it to an interface, blocks addresses and prints how many of
 * their packets were dropped.
 *
 *     npm ci
 *     sudo npx node examples/bpf-drop/main.ts eth0 203.0.113.9 198.51.100.7
 *     ping -c 3 …                             (from a blocked address; Ctrl-C here ends it and detaches)
 *
 * Needs root, or CAP_BPF and CAP_NET_ADMIN.
 */
import { once } from 'node:events';
import { ipv4, ipv4Text, load } from 'millrace/bpf';

const [interfaceName, ...addresses] = process.argv.slice(2);
if (interfaceName === undefined || addresses.length === 0) {
  console.error('usage: main.ts INTERFACE ADDRESS…');
  process.exit(2);
}

// The import is for the types alone: keys of `blocked` are numbers, values bigints, and `filter` is an XDP program.
using object = await load<typeof import('./drop.bpf.ts')>(new URL('./drop.bpf.ts', import.meta.url));
const { blocked } = object.maps;
for (const address of addresses) blocked.set(ipv4(address), 0n);

// Detaches at the end of this scope, however it ends; a process that is killed detaches, too.
using _link = object.programs.filter.attach({ interface: interfaceName });
console.log(`dropping what comes from ${addresses.join(', ')} on ${interfaceName}`);

const printing = setInterval(() => {
  const hits = [...blocked.entries()].map(([address, count]) => `${ipv4Text(address)} ${count}`);
  console.log(hits.join('  '));
}, 1000);
await once(process, 'SIGINT');
clearInterval(printing);
