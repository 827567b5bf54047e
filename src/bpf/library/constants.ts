/**
 * Room `bpf`: the kernel's constants that programs use, under the kernel's names. One file per subject in `constants/`.
 *
 * A newcomer would get wrong: these are plain numbers, so that user space can use them, too. The compiler folds them.
 */
export * from './constants/maps.ts';
export * from './constants/packets.ts';
export * from './constants/protocols.ts';
export * from './constants/sockets.ts';
export * from './constants/system.ts';
export * from './constants/verdicts.ts';
