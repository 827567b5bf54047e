/**
 * Room `bpf`: what `*.bpf.ts` programs import. One subject per line; `catalogue.ts` says the same to the compiler.
 *
 * A newcomer would get wrong: most of these do nothing in Node. Types, structs, maps and programs describe themselves there, so
 * that a module of programs can be imported for its types; what only the kernel can do throws.
 */
export * from './addresses.ts';
export * from './constants.ts';
export * from './contexts/messages.ts';
export * from './contexts/packets.ts';
export * from './contexts/sockets.ts';
export * from './contexts/tracing.ts';
export * from './headers/ethernet.ts';
export * from './headers/ip.ts';
export * from './headers/transport.ts';
export * from './headers/tunnels.ts';
export * from './helpers/basics.ts';
export * from './helpers/checksums.ts';
export * from './helpers/events.ts';
export * from './helpers/forwarding.ts';
export * from './helpers/map-values.ts';
export * from './helpers/maps.ts';
export * from './helpers/messages.ts';
export * from './helpers/packets.ts';
export * from './helpers/sockets.ts';
export * from './helpers/system.ts';
export * from './helpers/tracing.ts';
export type * from './infer.ts';
export * from './intrinsics.ts';
export type {
  Elements,
  Flags,
  Kernel,
  Layout,
  Reference,
  Stored,
  StructLayout,
  Value,
} from './layout.ts';
export * from './maps/buffers.ts';
export * from './maps/storages.ts';
export * from './maps/tables.ts';
export * from './maps/targets.ts';
export type * from './maps/types.ts';
export * from './numbers.ts';
export * from './programs/addresses.ts';
export * from './programs/cgroups.ts';
export * from './programs/extensions.ts';
export * from './programs/packets.ts';
export type { Program } from './programs/program.ts';
export * from './programs/sockets.ts';
export * from './programs/tracing.ts';
export { bits, kernelStruct, packed, pointer, struct, union } from './structs.ts';
export * from './uapi-structs.ts';
