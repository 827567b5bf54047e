/**
 * Room `engine`: receives and pending sends of a readiness engine as system call records, so that one crossing makes those of
 * many sockets. The words are written here and not by `record`, which would box each address in a heap number.
 *
 * A newcomer would get wrong: what a record points at (message header, file position) must stand until the batch has run, so
 * there is one of each for every record.
 */
import { MSG_DONTWAIT, MSG_MORE, MSG_NOSIGNAL } from '../kernel/constants.ts';
import { MSGHDR } from '../kernel/layouts.ts';
import { addressOf, RECORD_WORDS, records, SYS } from '../kernel/syscall.ts';
import * as state from './readiness-slots.ts';

/** Records of one batch. */
export const BATCH_MAX = 256;

const FLAGS = MSG_DONTWAIT | MSG_NOSIGNAL;
const HEADER_BYTES = 64;
const HIGH = 4294967296;

/** Writes a call of which only the second and third argument may be addresses. */
function write(index: number, call: number, descriptor: number, second: number, third: number, fourth: number): void {
  const word = index * RECORD_WORDS;
  records[word] = call;
  records[word + 1] = 0;
  records[word + 2] = descriptor;
  records[word + 3] = 0;
  // Conversion to 32 bits is modular, so the low word of an address is right.
  records[word + 4] = second;
  records[word + 5] = second / HIGH;
  records[word + 6] = third;
  records[word + 7] = third / HIGH;
  records[word + 8] = fourth;
  records[word + 9] = 0;
  records[word + 10] = 0;
  records[word + 11] = 0;
  records[word + 12] = 0;
  records[word + 13] = 0;
}

/** Writes a receive of at most `length` bytes to `address` as record `index`. */
export function writeReceive(index: number, descriptor: number, address: number, length: number): void {
  write(index, SYS.recvfrom, descriptor, address, length, MSG_DONTWAIT);
}

export class SendRecords {
  readonly #headers = new Int32Array(new ArrayBuffer(BATCH_MAX * HEADER_BYTES));
  readonly #headersAddress = addressOf(this.#headers);
  readonly #positions = new Int32Array(new ArrayBuffer(BATCH_MAX * 8));
  readonly #positionsAddress = addressOf(this.#positions);

  /** Writes the send under way of a slot as record `index`. */
  write(index: number, slots: state.Slots, slot: number): void {
    const descriptor = slots.descriptors[slot];
    const address = slots.sendAddresses[slot];
    const length = slots.sendLengths[slot];
    switch (slots.sendKinds[slot]) {
      case state.SEND_BYTES:
        write(index, SYS.sendto, descriptor, address, length, FLAGS);
        break;
      case state.SEND_MORE:
        write(index, SYS.sendto, descriptor, address, length, FLAGS | MSG_MORE);
        break;
      case state.SEND_MESSAGE:
        write(index, SYS.sendmsg, descriptor, address, FLAGS, 0);
        break;
      case state.SEND_VECTOR: {
        // writev(2) would raise SIGPIPE. The header's other fields stay 0.
        const word = (index * HEADER_BYTES) / 4;
        this.#headers[word + MSGHDR.msg_iov / 4] = address;
        this.#headers[word + MSGHDR.msg_iov / 4 + 1] = address / HIGH;
        this.#headers[word + MSGHDR.msg_iovlen / 4] = length;
        write(index, SYS.sendmsg, descriptor, this.#headersAddress + index * HEADER_BYTES, FLAGS, 0);
        break;
      }
      default: {
        // The file's own position is not used: several transfers may read one open file.
        this.#positions[index * 2] = address;
        this.#positions[index * 2 + 1] = address / HIGH;
        const position = this.#positionsAddress + index * 8;
        write(index, SYS.sendfile, descriptor, slots.sendFiles[slot], position, length);
      }
    }
  }
}
