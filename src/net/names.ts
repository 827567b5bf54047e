/**
 * Room `net`: socket addresses of datagrams as values, made once for each peer instead of once for each datagram.
 *
 * A newcomer would get wrong: a value may be shared by many messages, so it is frozen. The table is direct-mapped: a peer that
 * falls on another's place takes it over, and nothing ever has to be evicted.
 */
import { ADDRESS_BYTES_MAX, decodeAddress, type SocketAddress } from '../kernel/address.ts';

const PLACES = 256;
/** Unix sockets that were never bound have no name. */
const UNNAMED: SocketAddress = Object.freeze({ family: 'unix', path: '' });

export class Names {
  readonly #bytes = new Uint8Array(PLACES * ADDRESS_BYTES_MAX);
  readonly #lengths = new Uint8Array(PLACES);
  readonly #values: (SocketAddress | null)[] = new Array(PLACES).fill(null);

  /** The address that the kernel wrote to `memory[start, end)`. */
  decode(memory: Uint8Array, start: number, end: number): SocketAddress {
    const length = end - start;
    if (length <= 2 || length > ADDRESS_BYTES_MAX) return UNNAMED;
    let hash = length;
    for (let at = start + 2; at < end; at++) hash = (Math.imul(hash, 31) + memory[at]) | 0;
    const place = (hash ^ (hash >>> 8) ^ (hash >>> 16)) & (PLACES - 1);
    const own = place * ADDRESS_BYTES_MAX;
    const known = this.#values[place];
    if (known !== null && this.#lengths[place] === length) {
      let byte = 0;
      while (byte < length && this.#bytes[own + byte] === memory[start + byte]) byte++;
      if (byte === length) return known;
    }
    const value = Object.freeze(decodeAddress(memory, start, length) ?? UNNAMED);
    this.#bytes.set(memory.subarray(start, end), own);
    this.#lengths[place] = length;
    this.#values[place] = value;
    return value;
  }
}
