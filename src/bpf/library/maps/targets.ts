/**
 * Room `bpf`: maps of things of the kernel's: programs, maps, devices, CPUs, sockets.
 *
 * A newcomer would get wrong: programs hardly ever write these. User space puts descriptors or indices in, and the program
 * redirects to what is there, goes on in it, or looks it up.
 */
import type { Layout } from '../layout.ts';
import type { u32 } from '../numbers.ts';
import type { Program } from '../programs/program.ts';
import { constructorOf } from './constructor.ts';
import { lookup, redirected, table } from './methods.ts';
import type * as of from './types.ts';

/** Programs to go on in. `values: [parse, null, drop]` fills it when the object is loaded. */
export const programArray = constructorOf<(options: of.Sized & of.Filled<Program>) => of.ProgramArrayMap>(
  'programArray',
  'prog_array',
  '4.2',
  { key: 'u32', value: 'program', methods: {} },
);

/** Maps by index: `value` is a map such as those that it will hold. */
export const arrayOfMaps = constructorOf<
  <V extends of.BpfMap>(options: of.Valued<V> & of.Filled<V>) => of.MapOfMaps<'array_of_maps', Layout<u32>, V>
>('arrayOfMaps', 'array_of_maps', '4.12', { key: 'u32', value: 'map', methods: lookup });

/** Maps by key. */
export const hashOfMaps = constructorOf<
  <K extends Layout, V extends of.BpfMap>(options: of.KeyValue<K, V>) => of.MapOfMaps<'hash_of_maps', K, V>
>('hashOfMaps', 'hash_of_maps', '4.12', { key: 'required', value: 'map', methods: lookup });

type MaybeValued<V> = of.Sized & { readonly value?: V };

/** Network devices by index. `value`: u32 (an interface's index) or `bpf_devmap_val` (with a program to run there). */
export const deviceMap = constructorOf<<V extends Layout = Layout<u32>>(options: MaybeValued<V>) => of.DeviceMap<V>>(
  'deviceMap',
  'devmap',
  '4.14',
  { key: 'u32', value: 'optional', methods: redirected },
);

/** Network devices by any number. */
export const deviceHash = constructorOf<
  <V extends Layout = Layout<u32>>(options: MaybeValued<V>) => of.DeviceMap<V, 'devmap_hash'>
>('deviceHash', 'devmap_hash', '5.4', { key: 'u32', value: 'optional', methods: redirected });

/** CPUs. `value`: u32 (the queue's size) or `bpf_cpumap_val` (with a program to run there). */
export const cpuMap = constructorOf<<V extends Layout = Layout<u32>>(options: MaybeValued<V>) => of.CpuMap<V>>(
  'cpuMap',
  'cpumap',
  '4.15',
  { key: 'u32', value: 'optional', methods: redirected },
);

/** AF_XDP sockets by receive queue. */
export const xskMap = constructorOf<(options: of.Sized) => of.XskMap>('xskMap', 'xskmap', '4.18', {
  key: 'u32',
  value: 'u32',
  methods: redirected,
  lookupStruct: 'bpf_xdp_sock',
});

/** Sockets by index. */
export const socketMap = constructorOf<(options: of.Sized) => of.SocketsMap<Layout<u32>, 'sockmap'>>(
  'socketMap',
  'sockmap',
  '4.14',
  {
    key: 'u32',
    value: 'optional',
    lookupStruct: 'bpf_sock',
    methods: {
      ...table,
      delete: 'bpf_map_delete_elem',
      add: 'bpf_sock_map_update',
      redirect: 'bpf_sk_redirect_map',
      redirectMessage: 'bpf_msg_redirect_map',
      select: 'bpf_sk_select_reuseport',
    },
  },
);

/** Sockets by key. */
export const socketHash = constructorOf<
  <K extends Layout>(options: of.Sized & { readonly key: K }) => of.SocketsMap<K, 'sockhash'>
>('socketHash', 'sockhash', '4.18', {
  key: 'required',
  value: 'optional',
  lookupStruct: 'bpf_sock',
  methods: {
    ...table,
    delete: 'bpf_map_delete_elem',
    add: 'bpf_sock_hash_update',
    redirect: 'bpf_sk_redirect_hash',
    redirectMessage: 'bpf_msg_redirect_hash',
    select: 'bpf_sk_select_reuseport',
  },
});

/** Sockets that share a port by SO_REUSEPORT, for `skReuseport`. */
export const reuseportSocketArray = constructorOf<(options: of.Sized) => of.ReuseportSocketArrayMap>(
  'reuseportSocketArray',
  'reuseport_sockarray',
  '4.19',
  { key: 'u32', value: 'optional', methods: { select: 'bpf_sk_select_reuseport' } },
);
