/**
 * Room `bpf`: the order in which declarations can stand: what is referred to first, and together what refers to each other in a circle.
 *
 * A newcomer would get wrong: a single one that refers to itself is a group of one here, as one that does not.
 */

/**
 * Groups of names that reach each other (strongly connected components, by Tarjan's algorithm), each behind those that it refers to. Kernel
 * structs are nested some dozens deep, so that recursion is no danger.
 */
export function findGroups(edges: ReadonlyMap<string, ReadonlySet<string>>): string[][] {
  const order = new Map<string, number>();
  const open: string[] = [];
  const groups: string[][] = [];
  const visit = (name: string): number => {
    const number = order.size;
    order.set(name, number);
    open.push(name);
    let low = number;
    for (const next of edges.get(name) ?? []) {
      if (!order.has(next)) low = Math.min(low, visit(next));
      else if (open.includes(next)) low = Math.min(low, order.get(next) ?? low);
    }
    if (low === number) groups.push(open.splice(open.indexOf(name)));
    return low;
  };
  for (const name of edges.keys()) if (!order.has(name)) visit(name);
  return groups;
}
