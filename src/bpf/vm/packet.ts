/**
 * Room `bpf`: a packet in the VM: bytes in a frame with room before and behind, whose ends helpers may move.
 *
 * A newcomer would get wrong: when an end moves, every pointer into the packet that was loaded before is worthless,
 * though the bytes are still there. The verifier refuses its use; here the packet becomes another region, and the old
 * one is gone.
 */
import type { Machine } from './machine.ts';
import { REGION_HIGH, REGION_START, type Region } from './memory.ts';
import { NO_PACKET } from './packet-range.ts';

export class Packet {
  readonly frame: Uint8Array;
  /** What xdp_md.data and kin give. The same objects all the time: a program asks for them with every packet. */
  readonly data = { low: 0, high: 0 };
  readonly dataEnd = { low: 0, high: 0 };
  readonly dataMeta = { low: 0, high: 0 };
  /** Offsets in the frame: of the metadata before the packet, of the packet, and behind its last byte. */
  metadata = 0;
  start = 0;
  end = 0;
  readonly #machine: Machine;
  readonly #isChecked: boolean;
  /** Regions over the same frame, each for the time between two moves; used again by the next run. */
  readonly #regions: Region[] = [];
  #current = -1;
  /** What this packet has had of the frame. */
  #from = 0;
  #to = 0;

  /** With `isChecked` the program must compare with data_end before it accesses. */
  constructor(machine: Machine, frameBytes: number, isChecked = true) {
    this.#machine = machine;
    this.#isChecked = isChecked;
    this.frame = new Uint8Array(frameBytes);
  }

  get length(): number {
    return this.end - this.start;
  }

  /** A copy of the packet as it is. */
  bytes(): Uint8Array {
    return this.frame.slice(this.start, this.end);
  }

  /** Takes a new packet, which begins at `start` of the frame. What earlier ones left is cleared. */
  begin(bytes: Uint8Array, start: number, metadata?: Uint8Array): void {
    this.frame.fill(0, this.#from, this.#to);
    this.#from = start;
    this.#to = start;
    this.frame.set(bytes, start);
    if (metadata !== undefined) this.frame.set(metadata, start - metadata.length);
    this.#current = -1;
    this.place(start - (metadata?.length ?? 0), start, start + bytes.length);
  }

  /** Moves the ends; pointers from before are worthless then. `linear` is where direct access ends, the packet's end unless told. */
  place(metadata: number, start: number, end: number, linear = end): void {
    const { space } = this.#machine;
    const old = this.#regions[this.#current];
    if (old !== undefined) space.retire(old, 'its ends were moved; load data and data_end again');
    this.metadata = metadata;
    this.start = start;
    this.end = end;
    this.#from = Math.min(this.#from, metadata);
    this.#to = Math.max(this.#to, end);
    this.#current++;
    this.#regions[this.#current] ??= space.add({ name: 'the packet', bytes: this.frame, writable: true });
    const region = this.#regions[this.#current];
    region.base = metadata;
    region.size = linear - metadata;
    region.metadata = start - metadata;
    region.length = this.#isChecked ? 0 : region.size;
    region.gone = undefined;
    const high = REGION_HIGH + region.id;
    this.data.low = REGION_START + region.metadata;
    this.dataEnd.low = REGION_START + region.size;
    this.dataMeta.low = REGION_START;
    this.data.high = high;
    this.dataEnd.high = high;
    this.dataMeta.high = high;
    this.#machine.packetHigh = this.#isChecked ? high : NO_PACKET;
  }
}
