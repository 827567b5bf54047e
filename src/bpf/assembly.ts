/**
 * Room `bpf`: programs without the language, exported as `millrace/bpf/assembly`: instructions as values, their text form, and the bare
 * machine that runs them in this process.
 *
 * A newcomer would get wrong: what is written here is what the verifier sees. Nothing checks it before the kernel does, or the machine.
 */
export { AssemblerError, assemble } from './assembler.ts';
export { disassemble, disassembleOne } from './disassembler.ts';
export * from './instructions.ts';
export { type Place, VmFault } from './vm/fault.ts';
export type { Helper, HelperCall } from './vm/helper-call.ts';
export { helpersIn } from './vm/helpers.ts';
export { Machine, type MachineOptions } from './vm/machine.ts';
export { VmMap, type VmMapSpec } from './vm/maps.ts';
export type { World } from './vm/world.ts';
export { XdpMachine, type XdpResult } from './vm/xdp.ts';
