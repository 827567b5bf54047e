/**
 * Room `bpf`: eBPF from TypeScript. What stands here so far needs no compiler: instructions, their text form, a VM, and the door
 * to bpf(2). Not exported as `millrace/bpf` yet: its surface belongs to the compiler's language, which is not there.
 */
export { AssemblerError, assemble } from './assembler.ts';
export { disassemble, disassembleOne } from './disassembler.ts';
export * from './instructions.ts';
