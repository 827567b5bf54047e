/**
 * Room `kernel`: every constant of the kernel outside io_uring (`uring-abi.ts`), for `import * as constants`.
 */
export * from './descriptor-constants.ts';
export * from './socket-constants.ts';
