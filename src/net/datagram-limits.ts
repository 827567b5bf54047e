/**
 * Room `net`: how much a datagram socket may hold that has not been sent.
 *
 * A newcomer would get wrong: the high mark is a word to the program, the bound is a refusal. Between the two a program that does
 * not listen to `send` loses nothing yet.
 */
export interface SendOptions {
  /** Bytes waiting above which `send` returns false. Default 1 MB. A datagram counts its payload and 64 bytes. */
  readonly highWaterBytes?: number;
  /** Bytes at or below which `drain` follows. Default a quarter of the high mark. */
  readonly lowWaterBytes?: number;
  /** Bytes waiting above which a datagram is refused with ENOBUFS. Default four times the high mark. */
  readonly queueBytesMax?: number;
  /** Whether equal datagrams in a row leave as one segmented send (UDP_SEGMENT). Default true. */
  readonly segmentation?: boolean;
  /** Whether ICMP errors are read with the datagram that they are about (IP_RECVERR). Default false. */
  readonly errorQueue?: boolean;
}

const HIGH_WATER_BYTES = 1 << 20;

/** The marks in force. @throws RangeError when they are not 0 <= low <= high <= queue */
export function marksOf(limits: SendOptions): { readonly low: number; readonly high: number; readonly most: number } {
  const high = limits.highWaterBytes ?? HIGH_WATER_BYTES;
  const low = limits.lowWaterBytes ?? high >> 2;
  const most = limits.queueBytesMax ?? high * 4;
  if (!(low >= 0 && low <= high && high <= most)) {
    throw new RangeError(`water marks are ${low}, ${high} and ${most}: 0 <= low <= high <= queue is allowed`);
  }
  return { low, high, most };
}
