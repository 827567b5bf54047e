/**
 * Room `bpf`: programs at tracepoints by name, at kernel functions and LSM hooks, and iterators.
 *
 * A newcomer would get wrong: most of these programs were bound to their hook when they were loaded (attach_btf_id), so nothing is
 * named here; only a raw tracepoint is named when it is attached.
 */
import { readSync } from 'node:fs';
import * as abi from '../../../kernel/bpf-attributes.ts';
import { ERRNO } from '../../../kernel/errno.ts';
import { closeDescriptor } from '../../../kernel/socket.ts';
import { bpf, bpfError, cString, stable } from '../bpf.ts';
import type { Holder } from '../codec.ts';
import { withCgroup } from './cgroup.ts';
import { createLink, Link } from './link.ts';

function openRaw(
  program: Holder,
  name: string | null,
  where: string,
  cookie: bigint,
  kind: 'raw_tracepoint' | 'tracing',
): Link {
  const result = bpf(abi.BPF_RAW_TRACEPOINT_OPEN, {
    'raw_tracepoint.prog_fd': program.descriptor,
    ...(name === null ? {} : { 'raw_tracepoint.name': cString(name) }),
    ...(cookie === 0n ? {} : { 'raw_tracepoint.cookie': cookie }),
  });
  if (result >= 0) return new Link(result, kind);
  throw bpfError(result, `attachment to ${where}`, traceRemedy(result));
}

/** ENOTSUPP of include/linux/errno.h, which user space has no name for. */
const ENOTSUPP = 524;

function traceRemedy(result: number): string | undefined {
  if (result === -ENOTSUPP || result === -ERRNO.EBUSY) {
    return 'this kernel cannot put programs at this function: CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS is needed, and a free place';
  }
  return result === -ERRNO.ENOENT ? 'no tracepoint has the name' : undefined;
}

/** Attaches a raw tracepoint program: `sched_switch`, without the subsystem's name. `cookie` since Linux 6.10. */
export function attachRawTracepoint(program: Holder, tracepoint: string, cookie = 0n): Link {
  return openRaw(program, tracepoint, `raw tracepoint ${tracepoint}`, cookie, 'raw_tracepoint');
}

/** Attaches a program that knows its hook: tp_btf, fentry, fexit, fmod_ret, lsm, freplace. `where` is for errors. */
export function attachTracing(
  program: Holder & { readonly attachType?: string | null },
  where: string,
  cookie = 0n,
): Link {
  // A tracepoint's link is the same whether or not its program knows types (bpf_raw_tp_link_attach, kernel/bpf/syscall.c).
  const kind = program.attachType === 'trace_raw_tp' ? 'raw_tracepoint' : 'tracing';
  return openRaw(program, null, where, cookie, kind);
}

/** What an iterator shall go through, where that is not everything. */
export type IteratorTarget =
  | { readonly map: Holder }
  | { readonly cgroup: string; readonly order?: 'self' | 'down' | 'downPost' | 'up' }
  | { readonly thread: number }
  | { readonly process: number };

/** enum bpf_cgroup_iter_order. */
const orders = { self: 1, down: 2, downPost: 3, up: 4 } as const;
/** union bpf_iter_link_info: its largest member, for cgroups, has 16 bytes. */
const ITER_INFO_BYTES = 16;

function createIterator(program: Holder, fill: (view: DataView) => void, isEmpty: boolean): Link {
  const info = stable(ITER_INFO_BYTES);
  fill(new DataView(info.buffer));
  return createLink({
    kind: 'iter',
    program,
    attachType: 'trace_iter',
    fields: isEmpty ? {} : { 'link_create.iter_info': info, 'link_create.iter_info_len': ITER_INFO_BYTES },
    where: 'an iterator',
  });
}

/** Makes a link of an iterator program. Each {@link readIterator} of it is a new run. */
export function attachIterator(program: Holder, target: IteratorTarget | null): Link {
  if (target === null) return createIterator(program, () => undefined, true);
  if ('map' in target) {
    return createIterator(program, (view) => view.setUint32(0, target.map.descriptor, true), false);
  }
  if ('cgroup' in target) {
    return withCgroup(target.cgroup, (descriptor) =>
      createIterator(
        program,
        (view) => {
          view.setUint32(0, orders[target.order ?? 'down'], true);
          view.setUint32(4, descriptor, true);
        },
        false,
      ),
    );
  }
  return createIterator(
    program,
    (view) => {
      if ('thread' in target) view.setUint32(0, target.thread, true);
      else view.setUint32(4, target.process, true);
    },
    false,
  );
}

const READ_BYTES = 1 << 16;

/** Runs an iterator and gives what it wrote, in pieces. A descriptor is open while it is read. */
export function* readIterator(link: Holder): Generator<Uint8Array> {
  const descriptor = bpf(abi.BPF_ITER_CREATE, { 'iter_create.link_fd': link.descriptor });
  if (descriptor < 0) throw bpfError(descriptor, 'run of an iterator');
  try {
    for (;;) {
      const piece = new Uint8Array(READ_BYTES);
      const count = readSync(descriptor, piece);
      if (count === 0) return;
      yield piece.subarray(0, count);
    }
  } finally {
    closeDescriptor(descriptor);
  }
}

/** What an iterator wrote, as text. */
export function readIteratorText(link: Holder): string {
  return Buffer.concat([...readIterator(link)]).toString('utf8');
}
