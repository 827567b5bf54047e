/**
 * Room `bpf`: eBPF from TypeScript, exported as `millrace/bpf`: what programs import (`library/`), and what the user's side does with
 * them: compile, load, attach, read maps, run in the VM.
 *
 * A newcomer would get wrong: both sides import this one module. The compiler takes the language's names from it by its catalogue and
 * never runs it; Node never runs a program.
 */
export { ipv4Text, ipv6Text } from './addresses.ts';
export { CaptureError, type Frame, readCapture, writePcap, writePcapng } from './capture/pcap.ts';
export { CompileErrors, type CompileOptions, compile, compileText, type Diagnostic } from './compiler/compile.ts';
export * from './library/index.ts';
export { type Loaded, type LoadSourceOptions, load, objectOf } from './load.ts';
export * from './loader/index.ts';
export { Program } from './loader/program.ts';
export { readElf } from './object/elf/read.ts';
export { writeElf } from './object/elf/write.ts';
export type { ObjectSpec } from './object/spec.ts';
export type { Effect } from './vm/environment.ts';
export { type Place, VmFault } from './vm/fault.ts';
export type { Helper, HelperCall } from './vm/helper-call.ts';
export { type InstantiateOptions, instantiate, type VmObject } from './vm/object.ts';
export type { VmVariable } from './vm/object-maps.ts';
export type { RunInput, RunResult, VmProgram } from './vm/object-program.ts';
export type { VmObjectMap } from './vm/typed-map.ts';
export type { World } from './vm/world.ts';
