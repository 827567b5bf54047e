/**
 * Room `bpf`: the VM's helpers for dynptrs: memory whose size is only known at run time, reached through a handle of 16
 * bytes on the stack.
 *
 * A newcomer would get wrong: the handle's bytes mean nothing to the program. Here they hold an address and a size, and
 * a mark by which a handle that was never made, or was given back, is told.
 */
import { ERRNO } from '../../kernel/errno.ts';
import { VmRingBuffer } from './buffers.ts';
import type { Environment } from './environment.ts';
import { Violation } from './fault.ts';
import type { HelperCall } from './helper-call.ts';
import type { HelperTable } from './helper-table.ts';
import type { Address } from './memory.ts';

/** struct bpf_dynptr. */
const HANDLE_BYTES = 16;
const MARK = 0x64796e70;
/** BPF_RB_NO_WAKEUP and kin do not matter here. */
const DATA_MAX = 0xffffff;

interface Dynptr {
  readonly address: Address;
  readonly size: number;
}

function write(handle: Uint8Array, { address, size }: Dynptr): void {
  const view = new DataView(handle.buffer, handle.byteOffset, HANDLE_BYTES);
  view.setInt32(0, address.low, true);
  view.setInt32(4, address.high, true);
  view.setUint32(8, size, true);
  view.setUint32(12, MARK, true);
}

function read(call: HelperCall, n: number): Dynptr | null {
  const handle = call.bytes(n, HANDLE_BYTES);
  const view = new DataView(handle.buffer, handle.byteOffset, HANDLE_BYTES);
  if (view.getUint32(12, true) !== MARK) throw new Violation(`argument ${n} is no dynptr that was made`);
  const address = { low: view.getInt32(0, true), high: view.getInt32(4, true) };
  return address.high === 0 ? null : { address, size: view.getUint32(8, true) };
}

function part(call: HelperCall, n: number, offset: number, size: number, isWritten: boolean): Uint8Array | null {
  const found = read(call, n);
  if (found === null || offset + size > found.size) return null;
  const { space } = call.machine;
  const { low, high } = found.address;
  return space.access(low + offset, high, size, isWritten).slice(space.offsetIn(low + offset), size);
}

function fromMemory(call: HelperCall): void {
  const size = call.unsigned(2);
  const handle = call.bytes(4, HANDLE_BYTES, true);
  const isRight = size <= DATA_MAX && call.wide(3) === 0n;
  write(handle, isRight ? { address: call.address(1), size } : { address: { low: 0, high: 0 }, size: 0 });
  call.returns(isRight ? 0 : size > DATA_MAX ? -ERRNO.E2BIG : -ERRNO.EINVAL);
}

function reserve(environment: Environment, call: HelperCall): void {
  const buffer = call.mapOf(1, VmRingBuffer);
  const size = call.unsigned(2);
  const handle = call.bytes(4, HANDLE_BYTES, true);
  const fits = call.wide(3) === 0n && buffer.fits(size);
  if (!fits) {
    write(handle, { address: { low: 0, high: 0 }, size: 0 });
    call.returns(-ERRNO.EINVAL);
    return;
  }
  buffer.reserve(size);
  const name = `a record reserved in ${buffer.spec.name ?? 'a ring buffer'}`;
  write(handle, { address: environment.hold(new Uint8Array(size), name, buffer).address(), size });
  call.returns(0);
}

function finish(environment: Environment, call: HelperCall, isSubmitted: boolean): void {
  const found = read(call, 1);
  call.bytes(1, HANDLE_BYTES, true).fill(0);
  call.returns(0);
  if (found === null) return;
  const region = call.machine.space.regionOf(found.address.high);
  const buffer = region === undefined ? null : (environment.held.get(region)?.buffer ?? null);
  if (region === undefined || buffer === null) throw new Violation('argument 1 is no record that was reserved');
  buffer.release(region.bytes.length);
  environment.give(region, isSubmitted ? 'it was submitted' : 'it was discarded');
  if (isSubmitted) buffer.put(region.bytes);
}

/** bpf_user_ringbuf_drain: the callback gets a dynptr of each record; 1 ends. */
function drain(environment: Environment, call: HelperCall): void {
  const buffer = call.mapOf(1, VmRingBuffer);
  const slot = call.callback(2);
  const context = call.address(3);
  const { machine } = call;
  let count = 0;
  const handle = environment.hold(new Uint8Array(HANDLE_BYTES), 'a dynptr', null);
  const records = buffer.drain();
  while (records.length > 0) {
    const record = environment.hold(records.shift()!, 'a record of user space', null);
    write(handle.bytes, { address: record.address(), size: record.bytes.length });
    count++;
    machine.callBack(slot, [handle.address(), context]);
    environment.give(record, 'the callback has returned');
    if (machine.file[0] !== 0) break;
  }
  for (const record of records) buffer.put(record);
  environment.give(handle, 'the callback has returned');
  call.returns(count);
}

export function dynptrHelpers(environment: Environment): HelperTable {
  return {
    dynptr_from_mem: [4, fromMemory],
    dynptr_read: [
      5,
      (call) => {
        const size = call.unsigned(2);
        const source = part(call, 3, call.unsigned(4), size, false);
        if (source !== null) call.bytes(1, size, true).set(source);
        call.returns(source === null ? -ERRNO.E2BIG : 0);
      },
    ],
    dynptr_write: [
      5,
      (call) => {
        const size = call.unsigned(4);
        const target = part(call, 1, call.unsigned(2), size, true);
        if (target !== null) target.set(call.bytes(3, size));
        call.returns(target === null ? -ERRNO.E2BIG : 0);
      },
    ],
    dynptr_data: [
      3,
      (call) => {
        const [offset, size] = [call.unsigned(2), call.unsigned(3)];
        const found = read(call, 1);
        call.mayBeNull = true;
        const isInside = found !== null && offset + size <= found.size;
        call.returnsAddress(
          isInside ? { low: found.address.low + offset, high: found.address.high } : { low: 0, high: 0 },
        );
      },
    ],
    ringbuf_reserve_dynptr: [4, (call) => reserve(environment, call)],
    ringbuf_submit_dynptr: [2, (call) => finish(environment, call, true)],
    ringbuf_discard_dynptr: [2, (call) => finish(environment, call, false)],
    user_ringbuf_drain: [4, (call) => drain(environment, call)],
    kptr_xchg: [
      2,
      (call) => {
        const place = call.bytes(1, 8, true);
        const view = new DataView(place.buffer, place.byteOffset, 8);
        const old = { low: view.getInt32(0, true), high: view.getInt32(4, true) };
        const { low, high } = call.address(2);
        view.setInt32(0, low, true);
        view.setInt32(4, high, true);
        call.mayBeNull = true;
        call.returnsAddress(old);
      },
    ],
  };
}
