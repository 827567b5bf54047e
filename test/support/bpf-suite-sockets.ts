/**
 * Test support: the suite's programs at sockets, in cgroups and at tracepoints. Most of their types have no test run in the kernel;
 * they run in the VM alone, over contexts that are made here.
 */

import {
  bpf_cgroup_dev_ctx,
  bpf_sk_lookup,
  bpf_sock_addr,
  bpf_sock_ops,
  bpf_sysctl,
  sk_reuseport_md,
} from '../../src/bpf/library/index.ts';
import { bytesOf, fieldOf, type StructType, type Type } from '../../src/bpf/types.ts';
import { type Input, le32, le64, type SuiteCase } from './bpf-suite-case.ts';
import { randomBytes } from './packet-generator.ts';
import { address4, bytes, long, word } from './packets.ts';
import { randomSource } from './random.ts';

const AF_INET = 2;
const AF_INET6 = 10;
const TCP = 6;
const UDP = 17;

function put(view: DataView, at: number, type: Type, value: number | bigint): void {
  const isLittle = type.kind !== 'integer' || type.order === 'host';
  const size = bytesOf(type);
  if (size === 2) view.setUint16(at, Number(value), isLittle);
  else if (size === 4) view.setUint32(at, Number(value), isLittle);
  else if (size === 8) view.setBigUint64(at, BigInt(value), isLittle);
  else throw new RangeError(`a field of ${size} bytes in a context`);
}

/** A context with these fields; the others are 0. Values are in the host's order, as the programs see them. */
function context(
  struct: StructType,
  fields: Readonly<Record<string, number | bigint | readonly number[]>>,
): Uint8Array {
  const view = new DataView(new ArrayBuffer(struct.bytes));
  for (const [name, value] of Object.entries(fields)) {
    const field = fieldOf(struct, name);
    if (field === null) throw new Error(`${struct.name} has no ${name}`);
    const { type, offset } = field;
    if (type.kind !== 'array') put(view, offset, type, value as number | bigint);
    else
      for (const [index, one] of (value as number[]).entries())
        put(view, offset + index * bytesOf(type.element), type.element, one);
  }
  return new Uint8Array(view.buffer);
}

const number4 = (address: string): number => new DataView(address4(address).buffer).getUint32(0);

/** BPF_SOCK_OPS_*_CB. */
const OPERATION = { active: 4, passive: 5, state: 10, roundTrip: 12, other: 1 } as const;
const TCP_CLOSE = 7;
const TCP_FIN_WAIT1 = 4;

function connectionEvents(): Input[] {
  const event = (index: number, op: number, more: Record<string, number | bigint | number[]> = {}): Input => ({
    context: context(bpf_sock_ops.context.struct, {
      op,
      family: AF_INET,
      local_ip4: number4('192.0.2.1'),
      remote_ip4: number4(`198.51.100.${index % 7}`),
      local_port: 40000 + index,
      remote_port: 443,
      srtt_us: 8 * (100 + index),
      bytes_received: BigInt(index) * 0x1_0000_0001n,
      bytes_acked: BigInt(index) * 1000n,
      ...more,
    }),
  });
  const all: Input[] = [];
  for (let index = 0; index < 40; index++) {
    all.push(event(index, index % 3 === 0 ? OPERATION.passive : OPERATION.active));
    if (index % 2 === 0) all.push(event(index, OPERATION.roundTrip));
    all.push(event(index, OPERATION.other), event(index, OPERATION.state, { args: [1, TCP_FIN_WAIT1, 0, 0] }));
    if (index % 4 === 0) all.push(event(index, OPERATION.state, { args: [TCP_FIN_WAIT1, TCP_CLOSE, 0, 0] }));
    all.push(event(index, OPERATION.active, { family: AF_INET6 }), event(100 + index, OPERATION.roundTrip));
  }
  return all;
}

const service = (address: string, port: number): Uint8Array => bytes(address4(address), word(port), 0, 0);

function connects(): Input[] {
  const { struct } = bpf_sock_addr.context;
  const targets: [string, number, number][] = [
    ['192.0.2.10', 80, TCP],
    ['192.0.2.10', 81, TCP],
    ['192.0.2.10', 80, UDP],
    ['192.0.2.11', 80, TCP],
    ['203.0.113.9', 443, TCP],
  ];
  return Array.from({ length: 60 }, (_, index) => {
    const [address, port, protocol] = targets[(index * 7) % targets.length];
    const user_port = ((port & 255) << 8) | (port >> 8);
    return { context: context(struct, { user_family: AF_INET, user_ip4: number4(address), user_port, protocol }) };
  });
}

function deviceAccesses(): Input[] {
  const { struct } = bpf_cgroup_dev_ctx.context;
  return Array.from({ length: 120 }, (_, index) => {
    const access_type = (((index % 7) + 1) << 16) | (1 + (index % 2));
    return { context: context(struct, { access_type, major: [1, 5, 8, 136][index % 4], minor: index % 6 }) };
  });
}

function messages(): Input[] {
  const random = randomSource(7);
  return Array.from({ length: 100 }, (_, index) => {
    const length = index % 9 === 0 ? random.integer(2 ** 32) : 8 + random.integer(100);
    const header = bytes(long(length), index % 11 === 0 ? 2 : 1, random.integer(10), word(random.integer(65536)));
    const message = bytes(header, randomBytes(random, random.integer(60)));
    return { data: index % 13 === 0 ? message.slice(0, random.integer(8)) : message };
  });
}

function datagrams(): Input[] {
  const { struct } = sk_reuseport_md.context;
  const random = randomSource(8);
  return Array.from({ length: 100 }, (_, index) => {
    const ip_protocol = index % 5 === 0 ? TCP : UDP;
    const payload =
      index % 17 === 0 ? new Uint8Array(0) : bytes(random.integer(8), randomBytes(random, random.integer(20)));
    const data = bytes(word(40000), word(443), word(8 + payload.length), word(0), payload);
    return {
      data,
      context: context(struct, { len: data.length, eth_protocol: 0x0800, ip_protocol, hash: random.integer(2 ** 32) }),
    };
  });
}

function lookups(): Input[] {
  const { struct } = bpf_sk_lookup.context;
  const ports = [22, 7999, 8000, 8080, 8443, 8999, 9000];
  return Array.from({ length: 70 }, (_, index) => ({
    context: context(struct, {
      family: AF_INET,
      protocol: index % 3 === 0 ? UDP : TCP,
      remote_ip4: number4('192.0.2.1'),
      remote_port: 40000 + index,
      local_ip4: number4('192.0.2.2'),
      local_port: ports[index % ports.length],
    }),
  }));
}

const sysctlNames = ['net/ipv4/ip_forward', 'kernel/hostname', 'vm/overcommit_memory'];

export const socketCases: readonly SuiteCase[] = [
  {
    name: 'connection-tracking',
    program: 'connectionTracking',
    kernel: false,
    inputs: connectionEvents,
    observed: ['connections', 'closed'],
  },
  {
    name: 'connect-rewriting',
    program: 'connectRewriting',
    kernel: false,
    prepare: (setup) => {
      const backends = ['198.51.100.1', '198.51.100.2', '198.51.100.3'].map((address) => service(address, 8080));
      const list = bytes(...backends, new Uint8Array(8));
      setup.set('services', service('192.0.2.10', 80), bytes(le32(3), list));
      setup.set('services', service('192.0.2.11', 80), bytes(le32(0), new Uint8Array(32)));
    },
    inputs: connects,
    observed: ['turns'],
  },
  {
    name: 'device-policy',
    program: 'devicePolicy',
    kernel: false,
    prepare: (setup) => {
      setup.set('allowed', bytes(le32(2), le32(1), le32(3)), bytes(le32(7)));
      setup.set('allowed', bytes(le32(2), le32(136), le32(0xffffffff)), bytes(le32(6)));
      setup.set('allowed', bytes(le32(1), le32(8), le32(2)), bytes(le32(2)));
    },
    inputs: deviceAccesses,
  },
  {
    name: 'sysctl-policy',
    program: 'sysctlPolicy',
    kernel: false,
    prepare: (setup) => {
      const name = new Uint8Array(64);
      name.set(Buffer.from(sysctlNames[0]));
      setup.set('writable', name, bytes(le64(0n)));
    },
    inputs: () =>
      Array.from({ length: 30 }, (_, index) => ({
        context: context(bpf_sysctl.context.struct, { write: index % 2 }),
        sysctlName: sysctlNames[index % 3],
      })),
    observed: ['writable'],
    globals: ['refused'],
  },
  {
    name: 'message-verdict',
    program: 'messageVerdict',
    kernel: false,
    inputs: messages,
    observed: ['kinds'],
  },
  {
    name: 'reuseport-steering',
    program: 'reuseportSteering',
    kernel: false,
    prepare: (setup) => {
      for (let worker = 0; worker < 3; worker++) setup.listen('sockets', bytes(le32(worker)));
    },
    inputs: datagrams,
    observed: ['chosen'],
  },
  {
    name: 'lookup-steering',
    program: 'lookupSteering',
    kernel: true,
    seesMachine: true,
    prepare: (setup) => {
      setup.set('closedPorts', bytes(le32(8443)), bytes(le64(0n)));
      setup.listen('listeners', bytes(le32(0)));
    },
    inputs: lookups,
    observed: ['closedPorts'],
  },
  {
    name: 'latency-histogram',
    program: 'leave',
    kernel: true,
    seesMachine: true,
    inputs: () =>
      Array.from({ length: 40 }, (_, index) => ({
        program: index % 2 === 0 || index % 10 === 9 ? 'enter' : 'leave',
        context: new Uint8Array(16),
      })),
    observed: ['begun', 'histogram'],
    ignored: { begun: [[0, 8]], histogram: [[0, 8]] },
  },
];
