/**
 * Room `bpf`: the VM's helpers that send records to user space: ring buffers and perf event arrays.
 *
 * A newcomer would get wrong: a reserved record must be submitted or discarded before the program ends; else the
 * verifier refuses the program, and so does the VM.
 */
import { ERRNO } from '../../kernel/errno.ts';
import { VmRingBuffer } from './buffers.ts';
import type { Environment } from './environment.ts';
import { Violation } from './fault.ts';
import type { HelperCall } from './helper-call.ts';
import type { HelperTable } from './helper-table.ts';

/** What bpf_ringbuf_query asks for. */
const QUERIES = { waiting: 0, size: 1, consumer: 2, producer: 3 } as const;

function reserve(environment: Environment, call: HelperCall): void {
  const buffer = call.mapOf(1, VmRingBuffer);
  const size = call.unsigned(2);
  call.mayBeNull = true;
  if (call.wide(3) !== 0n || !buffer.fits(size)) {
    call.returns(0);
    return;
  }
  buffer.reserve(size);
  const name = buffer.spec.name ?? 'a ring buffer';
  call.returnsAddress(environment.hold(new Uint8Array(size), `a record reserved in ${name}`, buffer).address());
}

function finish(environment: Environment, call: HelperCall, isSubmitted: boolean): void {
  const region = call.region(1);
  const held = environment.held.get(region);
  if (held === undefined || held.buffer === null || call.offset(1) !== 0) {
    throw new Violation('argument 1 is no record that was reserved');
  }
  const { buffer } = held;
  buffer.release(region.bytes.length);
  const record = region.bytes;
  environment.give(region, isSubmitted ? 'it was submitted' : 'it was discarded');
  if (isSubmitted) buffer.put(record);
  call.returns(0);
}

function output(call: HelperCall): void {
  const buffer = call.mapOf(1, VmRingBuffer);
  const record = call.bytes(2, call.unsigned(3));
  if (!buffer.fits(record.length)) {
    call.returns(-ERRNO.EAGAIN);
    return;
  }
  buffer.put(record);
  call.returns(0);
}

/** bpf_perf_event_output: with a packet's first bytes behind the record where the flags ask for them. */
function perfOutput(environment: Environment, call: HelperCall): void {
  environment.expectContext(call, 1);
  const buffer = call.mapOf(2, VmRingBuffer);
  const record = call.bytes(4, call.unsigned(5));
  const fromPacket = Number((call.wide(3) >> 32n) & 0xfffffn);
  const { packet } = environment;
  if (fromPacket > 0 && (packet === null || fromPacket > packet.length)) {
    call.returns(-ERRNO.EFAULT);
    return;
  }
  const tail = packet?.frame.subarray(packet.start, packet.start + fromPacket) ?? new Uint8Array(0);
  buffer.put(Uint8Array.from([...record, ...tail]));
  call.returns(0);
}

function query(call: HelperCall): void {
  const buffer = call.mapOf(1, VmRingBuffer);
  const what = call.unsigned(2);
  if (what === QUERIES.size) call.returns(buffer.spec.maxEntries);
  else call.returns(what === QUERIES.consumer ? 0 : what <= QUERIES.producer ? buffer.waitingBytes : 0);
}

export function bufferHelpers(environment: Environment): HelperTable {
  return {
    ringbuf_reserve: [3, (call) => reserve(environment, call)],
    ringbuf_submit: [2, (call) => finish(environment, call, true)],
    ringbuf_discard: [2, (call) => finish(environment, call, false)],
    ringbuf_output: [4, output],
    ringbuf_query: [2, query],
    perf_event_output: [5, (call) => perfOutput(environment, call)],
    skb_output: [5, (call) => perfOutput(environment, call)],
    xdp_output: [5, (call) => perfOutput(environment, call)],
  };
}
