/**
 * Room `engine`: the public surface, `millrace/engine`, for programs that talk to a mechanism directly.
 */
export { chooseEngine, type EngineChoice, engineNames } from './choose.ts';
export * from './engine.ts';
export { createEpoll, createEpollLevel } from './epoll.ts';
export { createPoll } from './poll.ts';
export { createSelect } from './select.ts';
export { createUring } from './uring.ts';
export type { UringOptions } from './uring-operations.ts';
