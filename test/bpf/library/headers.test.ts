/**
 * The library against the kernel's headers, as the C compiler sees them: constants, helpers' numbers and parameters, program,
 * attach and map types, and where every field lies.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { catalogue } from '../../../src/bpf/library/catalogue.ts';
import type { Definition, HelperDefinition } from '../../../src/bpf/library/definitions.ts';
import { type Field, fieldOf, type StructType } from '../../../src/bpf/types.ts';
import { bpfHeaders, compilerSkip } from '../../support/bpf-library.ts';
import { askCompiler, type Question } from '../../support/headers.ts';

const skip = compilerSkip;

function definitions<K extends Definition['kind']>(kind: K): Extract<Definition, { kind: K }>[] {
  return [...catalogue.values()].filter(
    (definition): definition is Extract<Definition, { kind: K }> => definition.kind === kind,
  );
}

interface Expected extends Question {
  readonly value: number;
}

/** Names that these headers do not have. Those that they have must agree. */
function absentFrom(expected: readonly Expected[]): string[] {
  const answers = askCompiler(bpfHeaders, expected);
  const wrong = expected.filter(({ name, value }) => answers.has(name) && answers.get(name) !== value);
  assert.deepEqual(
    wrong.map(({ name, value }) => `${name} is ${value} here and ${answers.get(name)} there`),
    [],
  );
  return expected.filter(({ name }) => !answers.has(name)).map(({ name }) => name);
}

/** Constants that Debian 12's headers (Linux 6.1) do not have, or that are no header's of user space. */
const elsewhere: Readonly<Record<string, readonly string[]>> = {
  'include/net/tcp.h': [
    ...['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG', 'ECE', 'CWR'].map((flag) => `TCPHDR_${flag}`),
    ...['EOL', 'NOP', 'MSS', 'WINDOW', 'SACK_PERM', 'SACK', 'TIMESTAMP'].map((option) => `TCPOPT_${option}`),
  ],
  'include/net/ip.h': ['IP_DF', 'IP_MF', 'IP_OFFSET'],
  'include/linux/socket.h and net.h': [
    ...['AF_UNIX', 'AF_INET', 'AF_INET6', 'SOCK_STREAM', 'SOCK_DGRAM', 'SOCK_RAW'],
    ...['SOL_TCP', 'SOL_IPV6', 'SOL_IP'],
  ],
  'Linux 6.2, bpf.h': ['BPF_F_NO_TUNNEL_KEY'],
  'Linux 6.4, bpf.h': ['BPF_F_TIMER_ABS'],
  'Linux 6.6, bpf.h': ['TCX_NEXT', 'TCX_PASS', 'TCX_DROP', 'TCX_REDIRECT'],
  'Linux 6.7, bpf.h': [
    ...['NETKIT_NEXT', 'NETKIT_PASS', 'NETKIT_DROP', 'NETKIT_REDIRECT', 'BPF_F_TIMER_CPU_PIN'],
    ...['BPF_F_ADJ_ROOM_DECAP_L3_IPV4', 'BPF_F_ADJ_ROOM_DECAP_L3_IPV6', 'BPF_FIB_LOOKUP_TBID', 'BPF_FIB_LOOKUP_SRC'],
    'BPF_FIB_LKUP_RET_NO_SRC_ADDR',
  ],
  'Linux 6.10, bpf.h': ['BPF_FIB_LOOKUP_MARK'],
  'Linux 6.15, bpf.h': ['SCHED', 'SND_SW', 'SND_HW', 'ACK', 'SENDMSG'].map((name) => `BPF_SOCK_OPS_TSTAMP_${name}_CB`),
  'Linux 6.16, bpf.h': ['BPF_F_IPV6'],
};

/** GRE's flags are in network order in the headers; values here are in the host's. */
const expressionOf = (name: string): string => (name.startsWith('GRE_') ? `__builtin_bswap16(${name})` : name);

test('every constant is the one in the headers', { skip }, () => {
  const expected = definitions('constant').map(({ name, value }) => ({
    name,
    expression: expressionOf(name),
    value: Number(value),
  }));
  assert.ok(expected.length > 250, `only ${expected.length} constants`);
  const known = new Set(Object.values(elsewhere).flat());
  const absent = absentFrom(expected).filter((name) => !known.has(name));
  assert.deepEqual(absent, [], 'no header has these names: a typo, or one to list above');
});

test('every helper has its number, and is as old as it says', { skip }, () => {
  const helpers = definitions('helper');
  const expected = helpers.map(({ name, id }) => ({ name, expression: name.replace('bpf_', 'BPF_FUNC_'), value: id }));
  const absent = new Set(absentFrom(expected));
  assert.ok(absent.size < 10, `these headers lack ${absent.size} helpers`);
  const isOld = ({ since }: HelperDefinition): boolean => Number(since.split('.')[0]) < 6;
  assert.deepEqual(
    helpers.filter((helper) => isOld(helper) && absent.has(helper.name)),
    [],
  );
});

/** The headers' own description: `long bpf_redirect(u32 ifindex, u64 flags)`. */
interface Prototype {
  readonly result: string;
  readonly parameters: readonly string[];
}

function prototypes(): Map<string, Prototype> {
  const text = readFileSync('/usr/include/linux/bpf.h', 'utf8');
  const found = text.matchAll(/^ \* (\w[\w ]*?)\s*(\**)(bpf_\w+)\(([^)]*)\)$/gm);
  return new Map(
    [...found].map(([, result, stars, name, list]) => {
      const parameters = list === 'void' ? [] : list.split(',').map((parameter) => parameter.trim());
      return [name, { result: stars === '' ? result : 'pointer', parameters }];
    }),
  );
}

/** As many as the kernel takes: memory and strings come with their sizes. */
function kernelParameters({ name, parameters }: HelperDefinition): number {
  const sized = parameters.filter(
    ({ kind, ...rest }) => kind === 'memory' || (kind === 'string' && 'size' in rest && rest.size),
  );
  // The format and its size, and what the header writes as three dots.
  if (name === 'bpf_trace_printk') return 3;
  return parameters.length + sized.length;
}

function resultOf({ result }: HelperDefinition): string {
  if (result.kind === 'void') return 'void';
  if (result.kind !== 'scalar') return 'pointer';
  return result.type.kind === 'integer' ? result.type.name : result.type.kind;
}

/** What the header's word for a result may be here. A `long` that is an errno or a count is an i32. */
const resultNames: Readonly<Record<string, readonly string[]>> = {
  void: ['void'],
  pointer: ['pointer'],
  long: ['i32', 'i64', 'void'],
  int: ['i32'],
  s64: ['i64'],
  u32: ['u32'],
  u64: ['u64'],
};

test('every helper takes and gives what the headers say', { skip }, () => {
  const documented = prototypes();
  assert.ok(documented.size > 200, `only ${documented.size} prototypes were found`);
  for (const helper of definitions('helper')) {
    const prototype = documented.get(helper.name);
    if (prototype === undefined) continue;
    assert.equal(kernelParameters(helper), prototype.parameters.length, `${helper.name}(${prototype.parameters})`);
    // The header's `long` is the address of a struct pt_regs.
    if (helper.name === 'bpf_task_pt_regs') continue;
    const allowed = resultNames[prototype.result] ?? [];
    assert.ok(allowed.includes(resultOf(helper)), `${helper.name} gives ${prototype.result}, not ${resultOf(helper)}`);
  }
});

/** Contexts, keys, callbacks and flags stand in the order of the kernel's parameters. */
test('every helper’s parameters stand in the headers’ order', { skip }, () => {
  const kinds: readonly (readonly [RegExp, readonly string[]])[] = [
    [/\bflags$/, ['scalar']],
    [/callback_fn$/, ['callback']],
    [/callback_ctx$/, ['callbackContext']],
    [/struct (?:bpf_map) \*/, ['map']],
    [/struct (?:sk_buff|xdp_buff|sk_msg_buff) \*/, ['context', 'pointer']],
    [/\bctx$/, ['context', 'pointer', 'callbackContext']],
  ];
  const documented = prototypes();
  for (const helper of definitions('helper')) {
    const expanded = helper.parameters.flatMap((parameter): string[] =>
      parameter.kind === 'memory' || (parameter.kind === 'string' && parameter.size)
        ? [parameter.kind, 'size']
        : [parameter.kind],
    );
    for (const [index, text] of (documented.get(helper.name)?.parameters ?? []).entries()) {
      const rule = kinds.find(([pattern]) => pattern.test(text));
      if (rule !== undefined)
        assert.ok(rule[1].includes(expanded[index]), `${helper.name}: ${text} is ${expanded[index]}`);
    }
  }
});

/** Since 6.2; before them the headers know everything. */
const youngerKinds = new Set([
  ...['BPF_MAP_TYPE_ARENA', 'BPF_PROG_TYPE_NETFILTER', 'BPF_NETFILTER', 'BPF_TCX_INGRESS', 'BPF_TCX_EGRESS'],
  ...['BPF_NETKIT_PRIMARY', 'BPF_NETKIT_PEER', 'BPF_STRUCT_OPS', 'BPF_MAP_TYPE_CGRP_STORAGE', 'BPF_TRACE_UPROBE_MULTI'],
  ...['CONNECT', 'SENDMSG', 'RECVMSG', 'GETPEERNAME', 'GETSOCKNAME'].map((name) => `BPF_CGROUP_UNIX_${name}`),
]);

test('program, attach and map types are the kernel’s', { skip }, () => {
  const programs = definitions('program');
  const maps = [...definitions('map'), ...definitions('intrinsic').flatMap(({ map }) => map ?? [])];
  const names = new Set([
    ...programs.map(({ type }) => `BPF_PROG_TYPE_${type.toUpperCase()}`),
    ...programs.flatMap(({ attachType }) => (attachType === null ? [] : [`BPF_${attachType.toUpperCase()}`])),
    ...maps.map(({ type }) => `BPF_MAP_TYPE_${type.toUpperCase()}`),
  ]);
  const answers = askCompiler(
    bpfHeaders,
    [...names].map((name) => ({ name, expression: name })),
  );
  const absent = [...names].filter((name) => !answers.has(name));
  assert.deepEqual(
    absent.filter((name) => !youngerKinds.has(name)),
    [],
  );
});

/** The kernel's struct for each of ours, and its names for our fields where they differ. */
interface Counterpart {
  readonly c: string;
  readonly fields?: Readonly<Record<string, string>>;
}

const counterparts: Readonly<Record<string, Counterpart>> = {
  Ethernet: { c: 'struct ethhdr', fields: { destination: 'h_dest', source: 'h_source', protocol: 'h_proto' } },
  Ipv4: {
    c: 'struct iphdr',
    fields: {
      headerLength: 'ihl',
      typeOfService: 'tos',
      totalLength: 'tot_len',
      identification: 'id',
      fragment: 'frag_off',
      timeToLive: 'ttl',
      checksum: 'check',
      source: 'saddr',
      destination: 'daddr',
    },
  },
  Ipv6: {
    c: 'struct ipv6hdr',
    fields: {
      payloadLength: 'payload_len',
      nextHeader: 'nexthdr',
      hopLimit: 'hop_limit',
      source: 'saddr',
      destination: 'daddr',
    },
  },
  Ipv6Extension: { c: 'struct ipv6_opt_hdr', fields: { nextHeader: 'nexthdr', length: 'hdrlen' } },
  Ipv6Routing: {
    c: 'struct ipv6_rt_hdr',
    fields: { nextHeader: 'nexthdr', length: 'hdrlen', routingType: 'type', segmentsLeft: 'segments_left' },
  },
  Ipv6SegmentRouting: {
    c: 'struct ipv6_sr_hdr',
    fields: {
      nextHeader: 'nexthdr',
      length: 'hdrlen',
      routingType: 'type',
      segmentsLeft: 'segments_left',
      lastEntry: 'first_segment',
    },
  },
  IpAuthentication: {
    c: 'struct ip_auth_hdr',
    fields: { nextHeader: 'nexthdr', length: 'hdrlen', securityParameters: 'spi', sequence: 'seq_no' },
  },
  IpEncryption: { c: 'struct ip_esp_hdr', fields: { securityParameters: 'spi', sequence: 'seq_no' } },
  Tcp: {
    c: 'struct tcphdr',
    fields: {
      destination: 'dest',
      sequence: 'seq',
      acknowledgement: 'ack_seq',
      reserved: 'res1',
      dataOffset: 'doff',
      checksum: 'check',
      urgentPointer: 'urg_ptr',
    },
  },
  Udp: { c: 'struct udphdr', fields: { destination: 'dest', length: 'len', checksum: 'check' } },
  Icmp: { c: 'struct icmphdr', fields: { identifier: 'un.echo.id', sequence: 'un.echo.sequence' } },
  Icmp6: {
    c: 'struct icmp6hdr',
    fields: {
      type: 'icmp6_type',
      code: 'icmp6_code',
      checksum: 'icmp6_cksum',
      identifier: 'icmp6_dataun.u_echo.identifier',
      sequence: 'icmp6_dataun.u_echo.sequence',
    },
  },
  SocketTuple4: { c: '__typeof__(((struct bpf_sock_tuple *)0)->ipv4)' },
  SocketTuple6: { c: '__typeof__(((struct bpf_sock_tuple *)0)->ipv6)' },
};

/** Of which the headers have no struct: their fields are those of the RFC that the library names. */
const onlyInRfcs = ['Vlan', 'Mpls', 'Arp', 'Ipv6Fragment', 'Sctp', 'Gre', 'Vxlan', 'Geneve', 'Gtp', 'Pppoe'];
/** Not in 6.1's headers, or not in any; the kernel's BTF is asked in kernel.test.ts. */
const onlyInKernel = ['bpf_nf_ctx', 'bpf_wq'];
/** Names of which C's struct has no field: bits of one word, the whole of several, what is there only in newer kernels. */
const withoutField = new Set(['Tcp.flags', 'Ipv6.versionClassFlow', 'bpf_raw_tracepoint_args.args']);
/** Hidden fields of C's. */
const opaque = new Set(['bpf_timer.opaque', 'bpf_dynptr.opaque']);
/** The kernel's struct has no end, or ended earlier in 6.1. */
const otherSize = new Set(['bpf_raw_tracepoint_args', 'bpf_sock_ops']);
/** x86-64's pt_regs has other names in user space (rdi for di); its order is the same. */
const otherNames: Readonly<Record<string, string>> = { orig_ax: 'orig_rax', flags: 'eflags', cs: 'cs', ss: 'ss' };

function cNameOf(struct: StructType, field: Field): string {
  const { name } = field;
  if (struct.name === 'pt_regs') return otherNames[name] ?? (/^r\d/.test(name) ? name : `r${name}`);
  return counterparts[struct.name]?.fields?.[name] ?? name;
}

/** What C's compiler says of a field: its offset, or for a bit field which bits of its byte it has. */
function questionOf(c: string, struct: StructType, field: Field): Expected {
  const name = `${struct.name}.${field.name}`;
  const path = cNameOf(struct, field);
  if (field.bits === undefined) return { name, expression: `__builtin_offsetof(${c}, ${path})`, value: field.offset };
  const { shift, count } = field.bits;
  const bytes = `union { ${c} whole; unsigned char byte[sizeof(${c})]; } of`;
  const expression = `({ ${bytes}; memset(&of, 0, sizeof of); of.whole.${path} = -1; of.byte[${field.offset}]; })`;
  return { name, expression, value: (2 ** count - 1) << shift };
}

test('every struct lies as in C', { skip }, () => {
  const structs = definitions('type').flatMap(({ type }) => (type.kind === 'struct' ? [type] : []));
  assert.ok(structs.length > 40, `only ${structs.length} structs`);
  const asked = structs.filter(({ name }) => !onlyInRfcs.includes(name) && !onlyInKernel.includes(name));
  const expected = asked.flatMap((struct) => {
    const c = counterparts[struct.name]?.c ?? `struct ${struct.name}`;
    const fields = struct.fields.filter(
      ({ name }) => !withoutField.has(`${struct.name}.${name}`) && !opaque.has(`${struct.name}.${name}`),
    );
    const size = { name: `sizeof ${struct.name}`, expression: `sizeof(${c})`, value: struct.bytes };
    return [...(otherSize.has(struct.name) ? [] : [size]), ...fields.map((field) => questionOf(c, struct, field))];
  });
  // Since 6.2.
  assert.deepEqual(absentFrom(expected), ['bpf_sock_ops.skb_hwtstamp']);
});

test('all flags of TCP lie over the single ones', () => {
  const tcp = catalogue.get('Tcp');
  assert.ok(tcp?.kind === 'type' && tcp.type.kind === 'struct');
  assert.equal(fieldOf(tcp.type, 'flags')?.offset, 13);
  assert.equal(fieldOf(tcp.type, 'fin')?.offset, 13);
});

test('a wrong offset is noticed', { skip }, () => {
  const ethernet = { name: 'h_proto', expression: '__builtin_offsetof(struct ethhdr, h_proto)', value: 13 };
  assert.throws(() => absentFrom([ethernet]), /h_proto is 13 here and 12 there/);
  assert.deepEqual(absentFrom([{ name: 'none', expression: 'BPF_NO_SUCH_NAME', value: 0 }]), ['none']);
});
