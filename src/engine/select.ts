import type { Engine } from './engine.ts'; export function createSelect(_o: object): Engine { throw new Error('later'); }
