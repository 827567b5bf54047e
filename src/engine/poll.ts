import type { Engine } from './engine.ts'; export function createPoll(_o: object): Engine { throw new Error('later'); }
