/**
 * Room `bpf`: contexts of programs in the VM from objects of fields, and back: which struct a program type gets, what
 * its fields are to begin with, and what a program may do with them (the library's description of them, which the
 * compiler uses too).
 *
 * A newcomer would get wrong: as with BPF_PROG_TEST_RUN, a packet is always given from its Ethernet header on, and a
 * program above the link layer (cgroup skb, socket filter) sees it from the network header on. In the result those
 * first bytes are zeroes then, as the kernel's are.
 */
import * as messages from '../library/contexts/messages.ts';
import * as packets from '../library/contexts/packets.ts';
import { bpf_sock } from '../library/contexts/sockets.ts';
import * as tracing from '../library/contexts/tracing.ts';
import type { ContextStruct } from '../library/definitions.ts';
import { codecOf } from '../loader/codec.ts';
import { bytesOf, type Field } from '../types.ts';
import { ContextGuard } from './context.ts';
import type { Environment, FieldAccess } from './environment.ts';
import { Violation } from './fault.ts';
import type { Address, Region } from './memory.ts';

/** Values of a context's fields. A pointer's is the memory it points to, or null. */
export type ContextFields = Readonly<Record<string, unknown>>;

const skb = packets.__sk_buff.context;

/** The context of each program type that has a struct. */
const structs: Readonly<Record<string, ContextStruct>> = {
  xdp: packets.xdp_md.context,
  sched_cls: skb,
  sched_act: skb,
  cgroup_skb: skb,
  socket_filter: skb,
  sk_skb: skb,
  flow_dissector: skb,
  lwt_in: skb,
  lwt_out: skb,
  lwt_xmit: skb,
  lwt_seg6local: skb,
  sk_reuseport: packets.sk_reuseport_md.context,
  sk_msg: messages.sk_msg_md.context,
  sock_ops: messages.bpf_sock_ops.context,
  cgroup_sock_addr: messages.bpf_sock_addr.context,
  cgroup_sockopt: messages.bpf_sockopt.context,
  cgroup_sysctl: messages.bpf_sysctl.context,
  cgroup_device: messages.bpf_cgroup_dev_ctx.context,
  sk_lookup: messages.bpf_sk_lookup.context,
  cgroup_sock: bpf_sock.context,
  kprobe: tracing.pt_regs.context,
  perf_event: tracing.bpf_perf_event_data.context,
};

/** The struct that a program type gets, or null. */
export function contextStructOf(programType: string): ContextStruct | null {
  return structs[programType] ?? null;
}

/** Fields that hold the packet's ends, whatever their struct. */
const packetFields: Readonly<Record<string, 'data' | 'dataEnd' | 'dataMeta'>> = {
  data: 'data',
  data_end: 'dataEnd',
  data_meta: 'dataMeta',
};

/** What a test run gives back of an sk_buff. */
const returned = 'mark priority ingress_ifindex ifindex tstamp cb wire_len gso_segs hwtstamp'.split(' ');

/** A context in memory. */
export class StructContext implements FieldAccess {
  readonly region: Region;
  readonly #struct: ContextStruct;
  readonly #environment: Environment;
  readonly #pointers = new Map<string, Region | null>();
  readonly #view: DataView;
  readonly #fields: ReadonlyMap<string, Field>;
  /** The context's address, as a run's first argument. */
  readonly arguments: readonly Address[];

  constructor(environment: Environment, struct: ContextStruct) {
    this.#environment = environment;
    this.#struct = struct;
    const guard = new ContextGuard();
    const bytes = new Uint8Array(struct.struct.bytes);
    this.region = environment.machine.space.add({ name: 'the context', bytes, writable: true, guard });
    this.#view = this.region.view;
    this.#fields = new Map(struct.struct.fields.map((field) => [field.name, field]));
    this.arguments = [this.region.address()];
    for (const field of struct.struct.fields) {
      const end = field.offset + bytesOf(field.type);
      if (struct.writable.includes(field.name)) guard.writable.push([field.offset, end]);
      if (!(field.name in struct.pointers)) continue;
      const size = end - field.offset === 4 ? 4 : 8;
      guard.pointers.set(field.offset, { bytes: size, address: () => this.#address(field) });
    }
  }

  #address({ name }: Field): ReturnType<Region['address']> | null {
    const ofPacket = packetFields[name];
    const given = this.#pointers.get(name);
    if (given !== undefined) return given?.address() ?? null;
    if (ofPacket !== undefined && this.#environment.packet !== null) return this.#environment.packet[ofPacket];
    const pointer = this.#struct.pointers[name];
    if (pointer.nullable || ofPacket !== undefined) return null;
    throw new Violation(`reads ${name} of the context, which was not given to the run`);
  }

  /**
   * Takes the struct as bytes, over what the fields are. As in the kernel, 0 means that a field is not given, and pointers do
   * not count. @throws RangeError where there are more bytes than the struct has
   */
  putBytes(bytes: Uint8Array): void {
    const { struct } = this.#struct;
    if (bytes.length > struct.bytes) {
      throw new RangeError(`the context has ${bytes.length} bytes, ${struct.name} has ${struct.bytes}`);
    }
    for (const { offset, type } of struct.fields) {
      const given = bytes.subarray(offset, offset + bytesOf(type));
      if (given.some((byte) => byte !== 0)) this.region.bytes.set(given, offset);
    }
  }

  /** Makes every field 0. */
  clear(): void {
    this.region.bytes.fill(0);
    if (this.#pointers.size > 0) this.#pointers.clear();
  }

  /** Fills fields. @throws TypeError for a field that there is not, or a wrong value */
  putAll(fields: ContextFields): void {
    for (const [name, value] of Object.entries(fields)) {
      const field = this.#field(name);
      if (name in this.#struct.pointers) this.#pointers.set(name, this.#memory(name, value));
      else codecOf(field.type).write(this.#view, field.offset, value);
    }
  }

  #field(name: string): Field {
    const field = this.#fields.get(name);
    if (field !== undefined) return field;
    throw new TypeError(`${this.#struct.struct.name} has no field ${name}`);
  }

  #memory(name: string, value: unknown): Region | null {
    if (value === null) return null;
    if (value instanceof Uint8Array) return this.#environment.memory(value, `the memory of ${name}`, true);
    throw new TypeError(`${name} is a pointer: the memory it points to (a Uint8Array) or null is needed`);
  }

  /** Puts a number into a field, where the struct has it. */
  put(name: string, value: number): void {
    const field = this.#fields.get(name);
    if (field !== undefined) codecOf(field.type).write(this.#view, field.offset, value);
  }

  /**
   * The struct as bytes, as BPF_PROG_TEST_RUN gives it: of an sk_buff's fields only some over what was given
   * (convert_skb_to___skb in net/bpf/test_run.c).
   */
  bytes(given: Uint8Array): Uint8Array {
    if (this.#struct.struct.name !== '__sk_buff') return this.region.bytes.slice();
    const bytes = new Uint8Array(this.region.bytes.length);
    bytes.set(given);
    for (const { name, offset, type } of this.#struct.struct.fields) {
      if (!returned.includes(name)) continue;
      bytes.set(this.region.bytes.subarray(offset, offset + bytesOf(type)), offset);
    }
    return bytes;
  }

  /** The number in a field; 0 where the struct does not have it. */
  number(name: string): number {
    const field = this.#fields.get(name);
    return field === undefined ? 0 : Number(codecOf(field.type).read(this.#view, field.offset));
  }

  /** The fields as they are, without pointers. */
  fields(): Record<string, unknown> {
    const found: Record<string, unknown> = {};
    for (const { name, type, offset } of this.#struct.struct.fields) {
      if (!(name in this.#struct.pointers)) found[name] = codecOf(type).read(this.#view, offset);
    }
    return found;
  }
}

/** A context of 64-bit arguments: raw and BTF tracepoints, fentry, LSM hooks. Memory is given as bytes. */
export function argumentsContext(environment: Environment, values: readonly unknown[] | Uint8Array): Region {
  if (values instanceof Uint8Array) {
    return environment.machine.space.add({ name: 'the context', bytes: new Uint8Array(values), writable: true });
  }
  const guard = new ContextGuard();
  const bytes = new Uint8Array(Math.max(1, values.length) * 8);
  const view = new DataView(bytes.buffer);
  for (const [index, value] of values.entries()) {
    if (value instanceof Uint8Array) {
      const region = environment.memory(value, `argument ${index}`);
      guard.pointers.set(index * 8, { bytes: 8, address: () => region.address() });
    } else if (typeof value === 'bigint' || typeof value === 'number') {
      view.setBigInt64(index * 8, BigInt.asIntN(64, BigInt(value)), true);
    } else if (value !== null) {
      throw new TypeError(`argument ${index}: a number, a bigint, memory (a Uint8Array) or null is needed`);
    }
  }
  return environment.machine.space.add({ name: 'the context', bytes, writable: true, guard });
}
