/**
 * Room `bpf`: the methods that kinds of maps have in common, and the helper that each becomes.
 *
 * A newcomer would get wrong: a method's arguments are the helper's, in the helper's order, without the map.
 */
import type { MapDefinition } from '../definitions.ts';

type Methods = MapDefinition['methods'];

export const lookup: Methods = { lookup: 'bpf_map_lookup_elem' };
export const table: Methods = { ...lookup, update: 'bpf_map_update_elem' };
export const walked: Methods = { ...table, forEach: 'bpf_for_each_map_elem' };
export const keyed: Methods = { ...walked, delete: 'bpf_map_delete_elem' };
export const perCpu: Methods = { lookupOn: 'bpf_map_lookup_percpu_elem' };
export const redirected: Methods = { ...lookup, redirect: 'bpf_redirect_map' };
export const queued: Methods = { push: 'bpf_map_push_elem', pop: 'bpf_map_pop_elem', peek: 'bpf_map_peek_elem' };
