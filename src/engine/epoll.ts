import type { Engine } from './engine.ts';
export function createEpoll(_o: object): Engine { throw new Error('later'); }
export function createEpollLevel(_o: object): Engine { throw new Error('later'); }
