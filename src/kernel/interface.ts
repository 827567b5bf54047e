/**
 * Room `kernel`: network interfaces by name and by index, as link-local addresses need them (`fe80::1%eth0`); netdevice(7).
 *
 * A newcomer would get wrong: /sys/class/net shows the namespace in which /sys was mounted, not the thread's own. The ioctl
 * asks the thread's own.
 */
import * as constants from './constants.ts';
import { KernelError } from './error.ts';
import { IFREQ } from './layouts.ts';
import { addressOf, call, SYS } from './syscall.ts';

const request = new DataView(new ArrayBuffer(64));
const name = new Uint8Array(request.buffer, IFREQ.ifr_name, constants.IFNAMSIZ);
const requestAddress = addressOf(request);
const encoder = new TextEncoder();

function ask(command: number): number {
  const descriptor = call(SYS.socket, constants.AF_UNIX, constants.SOCK_DGRAM | constants.SOCK_CLOEXEC, 0);
  if (descriptor < 0) return descriptor;
  const result = call(SYS.ioctl, descriptor, command, requestAddress);
  call(SYS.close, descriptor);
  return result;
}

/**
 * The index of an interface of the calling thread's network namespace.
 * @throws RangeError where the name is empty or longer than 15 bytes
 * @throws KernelError (ENODEV) where no interface has the name
 */
export function interfaceIndex(interfaceName: string): number {
  const encoded = encoder.encode(interfaceName);
  if (encoded.length === 0 || encoded.length >= constants.IFNAMSIZ) {
    throw new RangeError(`interface is "${interfaceName}": a name of 1 to ${constants.IFNAMSIZ - 1} bytes is allowed`);
  }
  name.fill(0);
  name.set(encoded);
  const result = ask(constants.SIOCGIFINDEX);
  if (result < 0) {
    throw new KernelError('ioctl', result, {
      object: `SIOCGIFINDEX ${interfaceName}`,
      remedy: 'name an interface of this host (ip link)',
    });
  }
  return request.getInt32(IFREQ.ifr_ifindex, true);
}

/** The name of the interface with this index; null where none has it. */
export function interfaceName(index: number): string | null {
  name.fill(0);
  request.setInt32(IFREQ.ifr_ifindex, index, true);
  if (ask(constants.SIOCGIFNAME) < 0) return null;
  return new TextDecoder().decode(name.subarray(0, name.indexOf(0)));
}
