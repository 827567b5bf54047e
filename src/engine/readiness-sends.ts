/**
 * Room `engine`: pending sends of a readiness engine as system call records, so that one crossing makes those of a whole turn.
 *
 * A newcomer would get wrong: what a record points at (message header, file position) must stand until the batch has run, so
 * there is one of each for every record.
 */
import { MSG_DONTWAIT, MSG_NOSIGNAL } from '../kernel/constants.ts';
import { MSGHDR } from '../kernel/layouts.ts';
import { addressOf, record, SYS } from '../kernel/syscall.ts';
import * as state from './readiness-slots.ts';

/** Records of one batch. */
export const BATCH_MAX = 256;

const FLAGS = MSG_DONTWAIT | MSG_NOSIGNAL;
const HEADER_BYTES = 64;
const HIGH = 4294967296;

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
        record(index, SYS.sendto, descriptor, address, length, FLAGS);
        break;
      case state.SEND_MESSAGE:
        record(index, SYS.sendmsg, descriptor, address, FLAGS);
        break;
      case state.SEND_VECTOR: {
        // writev(2) would raise SIGPIPE. The header's other fields stay 0.
        const word = (index * HEADER_BYTES) / 4;
        this.#headers[word + MSGHDR.msg_iov / 4] = (address % HIGH) | 0;
        this.#headers[word + MSGHDR.msg_iov / 4 + 1] = address / HIGH;
        this.#headers[word + MSGHDR.msg_iovlen / 4] = length;
        record(index, SYS.sendmsg, descriptor, this.#headersAddress + index * HEADER_BYTES, FLAGS);
        break;
      }
      default: {
        // The file's own position is not used: several transfers may read one open file.
        this.#positions[index * 2] = (address % HIGH) | 0;
        this.#positions[index * 2 + 1] = address / HIGH;
        record(index, SYS.sendfile, descriptor, slots.sendFiles[slot], this.#positionsAddress + index * 8, length);
      }
    }
  }
}
