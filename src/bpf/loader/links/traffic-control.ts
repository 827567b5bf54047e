/**
 * Room `bpf`: tc programs by a filter of the clsact queueing discipline, for kernels before tcx (6.6) and for those who mix programs
 * with tc's own filters.
 *
 * A newcomer would get wrong: a filter belongs to the interface, not to this process: it stays when the process dies. Disposing of the
 * handle removes the filter; the queueing discipline stays, because others may have filters in it.
 */
import { ERRNO } from '../../../kernel/errno.ts';
import { KernelError } from '../../../kernel/error.ts';
import { interfaceIndex } from '../../../kernel/interface.ts';
import { netlinkText, requestNetlink } from '../../../kernel/netlink.ts';
import * as netlink from '../../../kernel/netlink-abi.ts';
import type { Holder } from '../codec.ts';
import type { Attachment } from './link.ts';

export interface FilterTarget {
  readonly interface: string | number;
  readonly direction: 'ingress' | 'egress';
  /** Filters run from the lowest; 1 to 65535, 1 unless told. */
  readonly priority?: number;
  /** Which of a priority's filters; 1 unless told. */
  readonly handle?: number;
}

/** ETH_P_ALL in network order. */
const ALL_PROTOCOLS = 0x0300;
/** The high half of a handle is the discipline's. */
const MAJOR = 0xffff0000;

function header(index: number, handle: number, parent: number, info: number): Uint8Array {
  const bytes = new Uint8Array(netlink.TCMSG.size);
  const view = new DataView(bytes.buffer);
  view.setInt32(netlink.TCMSG.tcm_ifindex, index, true);
  view.setUint32(netlink.TCMSG.tcm_handle, handle, true);
  view.setUint32(netlink.TCMSG.tcm_parent, parent, true);
  view.setUint32(netlink.TCMSG.tcm_info, info, true);
  return bytes;
}

function ensureDiscipline(index: number, where: string): void {
  const result = requestNetlink({
    type: netlink.RTM_NEWQDISC,
    flags: netlink.NLM_F_CREATE | netlink.NLM_F_EXCL,
    header: header(index, MAJOR, netlink.TC_H_CLSACT, 0),
    attributes: [[netlink.TCA_KIND, netlinkText('clsact')]],
  });
  if (result < 0 && result !== -ERRNO.EEXIST) {
    throw new KernelError('netlink', result, { object: `clsact on ${where}` });
  }
}

/** Attaches a program of type sched_cls by a filter (direct action: its answer is the verdict). @throws KernelError: EEXIST */
export function attachFilter(program: Holder, target: FilterTarget): Attachment {
  const { priority = 1, handle = 1, direction } = target;
  if (priority < 1 || priority > 65535) throw new RangeError(`priority is ${priority}: 1 to 65535 are allowed`);
  const index = typeof target.interface === 'number' ? target.interface : interfaceIndex(target.interface);
  ensureDiscipline(index, String(target.interface));
  const minor = direction === 'ingress' ? netlink.TC_H_MIN_INGRESS : netlink.TC_H_MIN_EGRESS;
  const place = header(index, handle, (MAJOR | minor) >>> 0, ((priority << 16) | ALL_PROTOCOLS) >>> 0);
  const result = requestNetlink({
    type: netlink.RTM_NEWTFILTER,
    flags: netlink.NLM_F_CREATE | netlink.NLM_F_EXCL,
    header: place,
    attributes: [
      [netlink.TCA_KIND, netlinkText('bpf')],
      [
        netlink.TCA_OPTIONS,
        [
          [netlink.TCA_BPF_FD, program.descriptor],
          [netlink.TCA_BPF_NAME, netlinkText('millrace')],
          [netlink.TCA_BPF_FLAGS, netlink.TCA_BPF_FLAG_ACT_DIRECT],
        ],
      ],
    ],
  });
  if (result < 0) {
    const isTaken = result === -ERRNO.EEXIST;
    const object = `filter of priority ${priority} on ${target.interface} ${direction}`;
    throw new KernelError('netlink', result, {
      object,
      ...(isTaken ? { remedy: 'take another priority or handle' } : {}),
    });
  }
  return {
    kind: 'tc',
    [Symbol.dispose]: () => {
      const attributes = [[netlink.TCA_KIND, netlinkText('bpf')]] as const;
      requestNetlink({ type: netlink.RTM_DELTFILTER, header: place, attributes });
    },
  };
}
