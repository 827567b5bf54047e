/**
 * Room `http`: which upstream gets a request. Each form answers one that is available and was not tried before for this
 * request; null where there is none.
 *
 * A newcomer would get wrong: consistent hashing must not depend on who is available, only skip who is not, or one failing
 * upstream would move every client.
 */
import type { Upstream } from './upstream.ts';

export type BalanceName = 'roundRobin' | 'leastConnections' | 'consistentHash';

export interface Balance {
  /** `key` is what a consistent hash depends on; the others ignore it. */
  pick(upstreams: readonly Upstream[], tried: readonly Upstream[], nowMs: number, key: string): Upstream | null;
}

/** Smooth weighted round robin: the one whose claim has grown most goes next, so weights mix evenly. */
class RoundRobin implements Balance {
  pick(upstreams: readonly Upstream[], tried: readonly Upstream[], nowMs: number): Upstream | null {
    let best: Upstream | null = null;
    let total = 0;
    for (const upstream of upstreams) {
      if (!upstream.available(nowMs) || tried.includes(upstream)) continue;
      upstream.current += upstream.weight;
      total += upstream.weight;
      if (best === null || upstream.current > best.current) best = upstream;
    }
    if (best !== null) best.current -= total;
    return best;
  }
}

/** Fewest requests under way for its weight; equal ones take turns. */
class LeastConnections implements Balance {
  private next = 0;

  pick(upstreams: readonly Upstream[], tried: readonly Upstream[], nowMs: number): Upstream | null {
    let best: Upstream | null = null;
    const count = upstreams.length;
    this.next = (this.next + 1) % Math.max(count, 1);
    for (let step = 0; step < count; step++) {
      const upstream = upstreams[(this.next + step) % count];
      if (!upstream.available(nowMs) || tried.includes(upstream)) continue;
      if (best === null || upstream.active * best.weight < best.active * upstream.weight) best = upstream;
    }
    return best;
  }
}

/** Rendezvous hashing: the highest of the weighted hashes of key and name; one that drops out moves only its own keys. */
class ConsistentHash implements Balance {
  pick(upstreams: readonly Upstream[], tried: readonly Upstream[], nowMs: number, key: string): Upstream | null {
    let best: Upstream | null = null;
    let bestScore = Number.NEGATIVE_INFINITY;
    for (const upstream of upstreams) {
      if (!upstream.available(nowMs) || tried.includes(upstream)) continue;
      // Weighted rendezvous: -weight / ln(u), u uniform in (0, 1).
      const score = -upstream.weight / Math.log((hash(`${key}\0${upstream.name}`) + 0.5) / 4294967296);
      if (score > bestScore) {
        best = upstream;
        bestScore = score;
      }
    }
    return best;
  }
}

/** FNV-1a with a final mix, so that names that differ in their last digit spread. */
function hash(value: string): number {
  let state = 0x811c9dc5;
  for (let index = 0; index < value.length; index++) {
    state = Math.imul(state ^ value.charCodeAt(index), 0x01000193);
  }
  state = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
  state = Math.imul(state ^ (state >>> 13), 0xc2b2ae35);
  return (state ^ (state >>> 16)) >>> 0;
}

export function createBalance(name: BalanceName): Balance {
  if (name === 'leastConnections') return new LeastConnections();
  if (name === 'consistentHash') return new ConsistentHash();
  return new RoundRobin();
}
