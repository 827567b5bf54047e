/**
 * Room `engine`: errors of accept(2) that say nothing about the listener.
 */
import { ERRNO } from '../kernel/errno.ts';

/** Errors of one connection, or of the network for a moment, as negative results; the listener stays as it is (accept(2)). */
export const ACCEPT_AGAIN: ReadonlySet<number> = new Set(
  [
    ERRNO.ECONNABORTED,
    ERRNO.EPROTO,
    ERRNO.ENETDOWN,
    ERRNO.ENOPROTOOPT,
    ERRNO.EHOSTDOWN,
    ERRNO.ENONET,
    ERRNO.EHOSTUNREACH,
    ERRNO.EOPNOTSUPP,
    ERRNO.ENETUNREACH,
    ERRNO.EPERM,
    ERRNO.EINTR,
  ].map((errno) => -errno),
);
