/**
 * Room `engine`: what the running kernel's io_uring offers beyond Linux 5.15, found by asking it.
 *
 * A newcomer would get wrong: version numbers prove nothing (distributions backport, containers mask); flags that setup took
 * and registrations that succeed do.
 */
import { addressOf, call, SYS } from '../kernel/syscall.ts';
import * as abi from '../kernel/uring-abi.ts';
import { BufferGroup } from './uring-buffers.ts';
import type { Ring } from './uring-ring.ts';

/** Everything false is Linux 5.15. */
export interface UringFeatures {
  /** SINGLE_ISSUER and DEFER_TASKRUN, Linux 6.1. */
  readonly deferTaskrun: boolean;
  /** IORING_REGISTER_PBUF_RING, 5.19. */
  readonly bufferRing: boolean;
  /** IORING_RECV_MULTISHOT, 6.0. */
  readonly multishotReceive: boolean;
  /** IORING_ACCEPT_MULTISHOT, 5.19. */
  readonly multishotAccept: boolean;
  /** IOSQE_CQE_SKIP_SUCCESS, 5.17. */
  readonly skipSuccess: boolean;
  /** IORING_OP_SEND_ZC, 6.0. */
  readonly zeroCopySend: boolean;
}

const PROBE_GROUP = 7;
/** struct io_uring_probe: 16 bytes of head, then 8 bytes for each operation; flags at 2, bit 0 says supported. */
const PROBE_OPERATIONS = 256;

function supportsBufferRing(ring: Ring): boolean {
  try {
    new BufferGroup(ring, PROBE_GROUP, 0, 4096, 1, true).dispose();
  } catch {
    return false;
  }
  const registration = new Uint16Array(new ArrayBuffer(128));
  registration[abi.IO_URING_BUF_REG.bgid / 2] = PROBE_GROUP;
  call(SYS.io_uring_register, ring.descriptor, abi.IORING_UNREGISTER_PBUF_RING, addressOf(registration), 1);
  return true;
}

function supportsOperation(ring: Ring, operation: number): boolean {
  const probe = new Uint8Array(new ArrayBuffer(16 + PROBE_OPERATIONS * 8));
  const result = call(
    SYS.io_uring_register,
    ring.descriptor,
    abi.IORING_REGISTER_PROBE,
    addressOf(probe),
    PROBE_OPERATIONS,
  );
  return result >= 0 && (probe[16 + operation * 8 + 2] & 1) !== 0;
}

/** What `ring` can do, less what `without` leaves out. */
export function findFeatures(ring: Ring, without: Partial<Record<keyof UringFeatures, true>>): UringFeatures {
  const bufferRing = without.bufferRing !== true && supportsBufferRing(ring);
  const hasSendZc = supportsOperation(ring, abi.IORING_OP_SEND_ZC);
  return {
    deferTaskrun: ring.deferred,
    bufferRing,
    // SEND_ZC came with the same release as multishot receive, which itself cannot be probed.
    multishotReceive: without.multishotReceive !== true && bufferRing && hasSendZc,
    // Came with the buffer ring (5.19).
    multishotAccept: without.multishotAccept !== true && bufferRing,
    skipSuccess: without.skipSuccess !== true && (ring.features & abi.IORING_FEAT_CQE_SKIP) !== 0,
    zeroCopySend: without.zeroCopySend !== true && hasSendZc,
  };
}
