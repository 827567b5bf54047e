/**
 * Room `bpf`: eBPF from TypeScript. What stands here so far needs no compiler: instructions, their text form, a VM, and the door
 * to bpf(2). Not exported as `millrace/bpf` yet: its surface belongs to the compiler's language, which is not there.
 */
export { AssemblerError, assemble } from './assembler.ts';
export { CaptureError, type Frame, readCapture, writePcap, writePcapng } from './capture/pcap.ts';
export { disassemble, disassembleOne } from './disassembler.ts';
export * from './instructions.ts';
export * from './loader/index.ts';
export type { Effect } from './vm/environment.ts';
export { type Place, VmFault } from './vm/fault.ts';
export type { Helper, HelperCall } from './vm/helper-call.ts';
export { helpersIn, type World } from './vm/helpers.ts';
export { Machine, type MachineOptions } from './vm/machine.ts';
export { VmMap, type VmMapSpec } from './vm/maps.ts';
export { type InstantiateOptions, instantiate, type VmObject } from './vm/object.ts';
export type { VmVariable } from './vm/object-maps.ts';
export type { RunInput, RunResult, VmProgram } from './vm/object-program.ts';
export type { VmObjectMap } from './vm/typed-map.ts';
export { XdpMachine, type XdpResult } from './vm/xdp.ts';
