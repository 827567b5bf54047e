/**
 * Room `bpf`: links: a program at a hook as an object of its own, which can be replaced, pinned and opened again.
 *
 * A newcomer would get wrong: a link ends with its last descriptor and pin. Disposing of the handle detaches the program unless the
 * link is pinned or somebody else holds it; a process that dies detaches what it did not pin.
 */
import * as abi from '../../../kernel/bpf-attributes.ts';
import { ATTACH_TYPES, type AttachTypeName, type LinkTypeName } from '../../../kernel/bpf-names.ts';
import { ERRNO } from '../../../kernel/errno.ts';
import { own } from '../../../kernel/native.ts';
import { closeDescriptor } from '../../../kernel/socket.ts';
import { type AttributeValue, bpf, bpfError } from '../bpf.ts';
import type { Holder } from '../codec.ts';
import { type LinkInfo, linkInfo } from '../info.ts';
import { openPinned, pinObject } from '../pin.ts';

/** A program at a hook. Disposing of it takes the program away, unless something else keeps it there. */
export interface Attachment extends Disposable {
  /** A kind of link, or what takes its place where the kernel has none: `socket`, `reuseport`, `sockmap`, `route`, `tc`. */
  readonly kind: LinkTypeName | 'socket' | 'reuseport' | 'route' | 'tc';
}

/** A link of the kernel's. */
export class Link implements Attachment {
  /** Its descriptor; -1 once closed. */
  descriptor: number;
  readonly kind: LinkTypeName;
  /** What lives as long as the link does: a perf event, a socket. */
  readonly #held: DisposableStack | null;

  constructor(descriptor: number, kind: LinkTypeName, held: DisposableStack | null = null) {
    this.descriptor = descriptor;
    this.kind = kind;
    this.#held = held;
    own(descriptor);
  }

  /**
   * Puts another program in the place of the attached one, in one step: no event passes in between.
   * @param expected only if this one is attached now
   * @throws KernelError: EINVAL for kinds that cannot (tracing, perf events), EPERM where `expected` is not what is attached
   */
  update(program: Holder, expected?: Holder): void {
    const result = bpf(abi.BPF_LINK_UPDATE, {
      'link_update.link_fd': this.descriptor,
      'link_update.new_prog_fd': program.descriptor,
      'link_update.flags': expected === undefined ? 0 : abi.BPF_F_REPLACE,
      'link_update.old_prog_fd': expected?.descriptor ?? 0,
    });
    if (result < 0)
      throw bpfError(result, `replacement of the program of a ${this.kind} link`, this.#updateRemedy(result));
  }

  #updateRemedy(result: number): string | undefined {
    return result === -ERRNO.EINVAL
      ? 'links of this kind, or this program, cannot be replaced: attach anew'
      : undefined;
  }

  /** Takes the program away at once, for every holder of the link (Linux 5.10). The link stays as an object without effect. */
  detach(): void {
    const result = bpf(abi.BPF_LINK_DETACH, { 'link_detach.link_fd': this.descriptor });
    if (result < 0) throw bpfError(result, `detachment of a ${this.kind} link`);
  }

  /** Keeps it under a path on bpffs: the program stays attached when this process ends. */
  pin(path: string): void {
    pinObject(this.descriptor, path, `${this.kind} link`);
  }

  info(): LinkInfo {
    return linkInfo(this.descriptor);
  }

  [Symbol.dispose](): void {
    if (this.descriptor === -1) return;
    closeDescriptor(this.descriptor);
    this.descriptor = -1;
    this.#held?.dispose();
  }
}

/** The link pinned at a path, or null where nothing is. */
export function openLink(path: string): Link | null {
  const descriptor = openPinned(path);
  if (descriptor === null) return null;
  try {
    return new Link(descriptor, linkInfo(descriptor).type as LinkTypeName);
  } catch (error) {
    closeDescriptor(descriptor);
    throw error;
  }
}

type LinkField = Extract<keyof typeof abi.BPF_ATTR, `link_create.${string}`>;

/** What a link is made of. */
export interface LinkRequest {
  readonly kind: LinkTypeName;
  /** The program, or for struct_ops the map. */
  readonly program: Holder;
  readonly attachType: AttachTypeName;
  readonly fields: Partial<Record<LinkField, AttributeValue>>;
  /** For errors: `eth0`, `cgroup /sys/fs/cgroup/a`. */
  readonly where: string;
  readonly held?: DisposableStack;
  readonly remedy?: (result: number) => string | undefined;
}

/** BPF_LINK_CREATE. @throws KernelError that says where */
export function createLink(request: LinkRequest): Link {
  const { kind, program, attachType, fields, where, held = null } = request;
  const result = bpf(abi.BPF_LINK_CREATE, {
    'link_create.prog_fd': program.descriptor,
    'link_create.attach_type': ATTACH_TYPES[attachType],
    ...fields,
  });
  if (result < 0) {
    held?.dispose();
    throw bpfError(
      result,
      `${kind} link (${attachType}) to ${where}`,
      request.remedy?.(result) ?? remedyOf(result, kind),
    );
  }
  return new Link(result, kind, held);
}

/** The releases that introduced kinds of links. */
const since: Partial<Record<LinkTypeName, string>> = {
  cgroup: '5.7',
  netns: '5.8',
  xdp: '5.9',
  perf_event: '5.15',
  netfilter: '6.4',
  struct_ops: '6.4',
  tcx: '6.6',
  netkit: '6.7',
  sockmap: '6.10',
};

function remedyOf(result: number, kind: LinkTypeName): string | undefined {
  if (result !== -ERRNO.EINVAL || since[kind] === undefined) return undefined;
  return `the kernel must be Linux ${since[kind]} or newer, and the program of a type for this hook`;
}
