/**
 * Room `bpf`: the loader's surface: objects, maps, programs, links, buffers of events, features of the kernel.
 *
 * A newcomer would get wrong: `loadObject` and `attach` are all that most need; what is below them is for programs without an object.
 */
export { MappedArena } from './arena.ts';
export { ArenaMemory } from './arena-memory.ts';
export { ATTACHMENTS, type AttachmentName, attachFeature, attachFeatures } from './attach-features.ts';
export { type Codec, codecOf, holderCodec } from './codec.ts';
export { Collection, type LoadOptions, loadObject } from './collection.ts';
export type { ObjectMap } from './collection-maps.ts';
export type { ObjectProgram } from './collection-programs.ts';
export type { Feature } from './feature.ts';
export {
  helperFeature,
  type KernelFeatures,
  kernelFeatures,
  mapFeature,
  programFeature,
  tracingFeature,
} from './features.ts';
export type { GlobalVariable } from './globals.ts';
export {
  btfInfo,
  idsOf,
  type LinkInfo,
  linkInfo,
  type MapInfo,
  mapInfo,
  type ProgramInfo,
  programInfo,
} from './info.ts';
export { KconfigError, kernelConfig } from './kernel-config.ts';
export { MissingSymbolError } from './kernel-symbols.ts';
export { linkFeature } from './link-features.ts';
export { type Attachable, AttachError, type AttachTarget, attach } from './links/attach.ts';
export { cgroupRoot, NoCgroupError } from './links/cgroup.ts';
export { Executable, ProbeError, type UsdtProbe } from './links/executable.ts';
export { type Attachment, Link, openLink } from './links/link.ts';
export { TracefsError, tracefsPath } from './links/perf-event.ts';
export { attachRoute, type RoutePrograms, type RouteTarget } from './links/routes.ts';
export { readIterator, readIteratorText } from './links/tracing.ts';
export { createMap, KernelMap, type MapCodecs, type MapSpec } from './map.ts';
export { openMap, openMapById } from './map-open.ts';
export { MappedArray } from './mapped-array.ts';
export { type PerfBufferOptions, PerfBufferReader } from './perf-buffer.ts';
export { bpffsPath, NoBpffsError, unpin } from './pin.ts';
export { loadProgram, openProgram, openProgramById, Program, type ProgramSpec } from './program.ts';
export { decoded, type EventCallback, type RingBufferOptions, RingBufferReader } from './ring-buffer.ts';
export { attachStructOps, StructOpsError } from './struct-ops.ts';
export type { TestRunOptions, TestRunResult } from './test-run.ts';
export { UserRingBuffer } from './user-ring-buffer.ts';
export { type ExplainedRefusal, explain, type ProgramSource, reasonOf, VerifierError } from './verifier.ts';
