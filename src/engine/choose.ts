/**
 * Room `engine`: picks the mechanism and says why in one line. io_uring where the kernel allows it, else edge-triggered epoll.
 *
 * A newcomer would get wrong: a refusal of io_uring is normal (containers, kernel.io_uring_disabled) and no error under
 * `auto`; it is one when the program asked for io_uring by name.
 */
import { KernelError } from '../kernel/error.ts';
import { probeUring } from '../kernel/probe.ts';
import type { Engine, EngineName } from './engine.ts';
import { createEpoll, createEpollLevel } from './epoll.ts';
import { createPoll } from './poll.ts';
import { createSelect } from './select.ts';
import { createUring } from './uring.ts';

export type EngineChoice = 'auto' | EngineName;

/** Every engine by name, best first. */
export const engineNames: readonly EngineName[] = ['io_uring', 'epoll', 'epoll-level', 'poll', 'select'];

const constructors: Readonly<Record<EngineName, (options: { readonly reason: string }) => Engine>> = {
  io_uring: createUring,
  epoll: createEpoll,
  'epoll-level': createEpollLevel,
  poll: createPoll,
  select: createSelect,
};

/**
 * Makes the engine asked for; `auto` falls back from io_uring to epoll.
 * @throws KernelError where the kernel refuses the engine asked for by name
 */
export function chooseEngine(choice: EngineChoice): Engine {
  if (choice !== 'auto') return constructors[choice]({ reason: 'asked for by name' });
  try {
    return createUring({ reason: 'the kernel allows io_uring' });
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    // Only now is it worth looking closer: the probe tells the sysctl from seccomp from an old kernel.
    const probe = probeUring();
    const why =
      probe.state === 'available'
        ? error.message
        : `${probe.reason}${probe.remedy === null ? '' : `; ${probe.remedy}`}`;
    return createEpoll({ reason: `io_uring is not available: ${why}` });
  }
}
