/**
 * Test support: io_uring as older kernels have it, feature by feature and all together. Leaving a feature out shows that what
 * stands in for it works; the kernel that lacks it need not be at hand.
 */
import type { UringFeatures } from '../../src/engine/uring-features.ts';

export type Without = Partial<Record<keyof UringFeatures, true>>;

/** What each lacks. A kernel before 5.19 has none of its buffer rings, multishots and zero-copy sends. */
export const olderKernels: readonly (readonly [string, Without])[] = [
  ['this kernel', {}],
  ['without deferred task work', { deferTaskrun: true }],
  ['without buffer rings', { bufferRing: true }],
  ['without multishot receives', { multishotReceive: true }],
  ['without multishot accepts', { multishotAccept: true }],
  ['without skipped completions', { skipSuccess: true }],
  ['without zero-copy sends', { zeroCopySend: true }],
  [
    'as Linux 5.15',
    {
      deferTaskrun: true,
      bufferRing: true,
      multishotReceive: true,
      multishotAccept: true,
      skipSuccess: true,
      zeroCopySend: true,
    },
  ],
];
