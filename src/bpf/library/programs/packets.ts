/**
 * Room `bpf`: programs that see packets: XDP, tc and tcx, netkit, socket filters, lightweight tunnels, the flow dissector,
 * netfilter.
 *
 * A newcomer would get wrong: `tc` and `tcxIngress` are the same program type. `tc` leaves the attaching to a qdisc (tc, libbpf's
 * bpf_tc_attach); `tcxIngress` and `tcxEgress` are links of the kernel's since 6.6 and need no qdisc.
 */
import {
  __sk_buff,
  type DissectorBuffer,
  type SocketBuffer,
  type TcBuffer,
  type TunnelBuffer,
  xdp_md,
} from '../contexts/packets.ts';
import { bpf_nf_ctx } from '../contexts/tracing.ts';
import { direct, HAS_FRAGMENTS, structContext } from './program.ts';

const xdpContext = structContext(xdp_md);
const buffer = structContext(__sk_buff);
const filtered = structContext(__sk_buff, ['cb']);
const routed = structContext(__sk_buff, ['mark', 'priority', 'cb']);
const dissected = structContext(__sk_buff, []);

/** XDP_ABORTED to XDP_REDIRECT. */
const actions = [0, 1, 2, 3, 4];
/** TC_ACT_UNSPEC to TC_ACT_TRAP. */
const verdicts = [-1, 0, 1, 2, 3, 4, 5, 6, 7, 8];
/** TCX_NEXT, TCX_PASS, TCX_DROP, TCX_REDIRECT; netkit has the same. */
const linkVerdicts = [-1, 0, 2, 7];

/** At the driver, before the kernel's stack. Returns XDP_*. */
export const xdp = direct<'xdp', xdp_md>(
  { name: 'xdp', type: 'xdp', attachType: 'xdp', section: 'xdp', verdicts: actions },
  xdpContext,
);

/** The same for drivers that give packets in fragments (jumbo frames); since 5.18. */
export const xdpFragments = direct<'xdpFragments', xdp_md>(
  {
    name: 'xdpFragments',
    type: 'xdp',
    attachType: 'xdp',
    section: 'xdp.frags',
    flags: HAS_FRAGMENTS,
    verdicts: actions,
  },
  xdpContext,
);

/** On a device of a device map, after the redirect; since 5.8. */
export const xdpDeviceMap = direct<'xdpDeviceMap', xdp_md>(
  { name: 'xdpDeviceMap', type: 'xdp', attachType: 'xdp_devmap', section: 'xdp/devmap', verdicts: actions },
  xdpContext,
);

/** On a CPU of a CPU map, after the redirect; since 5.9. */
export const xdpCpuMap = direct<'xdpCpuMap', xdp_md>(
  { name: 'xdpCpuMap', type: 'xdp', attachType: 'xdp_cpumap', section: 'xdp/cpumap', verdicts: actions },
  xdpContext,
);

/** At a qdisc (clsact), either way. Returns TC_ACT_*. */
export const tc = direct<'tc', TcBuffer>(
  { name: 'tc', type: 'sched_cls', attachType: null, section: 'tc', verdicts },
  buffer,
);

/** An action behind another classifier. */
export const tcAction = direct<'tcAction', TcBuffer>(
  { name: 'tcAction', type: 'sched_act', attachType: null, section: 'action', verdicts },
  buffer,
);

/** On what an interface receives, by a link; since 6.6. Returns TCX_* or TC_ACT_*. */
export const tcxIngress = direct<'tcxIngress', TcBuffer>(
  { name: 'tcxIngress', type: 'sched_cls', attachType: 'tcx_ingress', section: 'tcx/ingress', verdicts },
  buffer,
);

/** On what an interface sends, by a link; since 6.6. */
export const tcxEgress = direct<'tcxEgress', TcBuffer>(
  { name: 'tcxEgress', type: 'sched_cls', attachType: 'tcx_egress', section: 'tcx/egress', verdicts },
  buffer,
);

/** At a netkit device's primary side; since 6.7. */
export const netkitPrimary = direct<'netkitPrimary', TcBuffer>(
  {
    name: 'netkitPrimary',
    type: 'sched_cls',
    attachType: 'netkit_primary',
    section: 'netkit/primary',
    verdicts: linkVerdicts,
  },
  buffer,
);

/** At a netkit device's peer side; since 6.7. */
export const netkitPeer = direct<'netkitPeer', TcBuffer>(
  {
    name: 'netkitPeer',
    type: 'sched_cls',
    attachType: 'netkit_peer',
    section: 'netkit/peer',
    verdicts: linkVerdicts,
  },
  buffer,
);

/** On a socket (SO_ATTACH_BPF). Returns how many bytes of the packet to keep. Bytes are read by `bpf_skb_load_bytes` alone. */
export const socketFilter = direct<'socketFilter', SocketBuffer>(
  { name: 'socketFilter', type: 'socket_filter', attachType: null, section: 'socket' },
  filtered,
);

/** On a route with encap bpf, on the way in. Returns BPF_OK, BPF_DROP or BPF_LWT_REROUTE. */
export const lwtIn = direct<'lwtIn', TunnelBuffer>(
  { name: 'lwtIn', type: 'lwt_in', attachType: null, section: 'lwt_in', verdicts: [0, 2, 128] },
  routed,
);

/** The same on the way out of the host. */
export const lwtOut = direct<'lwtOut', TunnelBuffer>(
  { name: 'lwtOut', type: 'lwt_out', attachType: null, section: 'lwt_out', verdicts: [0, 2] },
  routed,
);

/** The same just before the packet is sent; may change it and redirect it. */
export const lwtXmit = direct<'lwtXmit', TunnelBuffer>(
  { name: 'lwtXmit', type: 'lwt_xmit', attachType: null, section: 'lwt_xmit', verdicts: [0, 2, 7, 128] },
  routed,
);

/** A segment routing function (End.BPF). */
export const lwtSeg6local = direct<'lwtSeg6local', TunnelBuffer>(
  { name: 'lwtSeg6local', type: 'lwt_seg6local', attachType: null, section: 'lwt_seg6local', verdicts: [0, 2, 7] },
  routed,
);

/** In place of the kernel's flow dissector. Returns BPF_OK, BPF_DROP or BPF_FLOW_DISSECTOR_CONTINUE. */
export const flowDissector = direct<'flowDissector', DissectorBuffer>(
  {
    name: 'flowDissector',
    type: 'flow_dissector',
    attachType: 'flow_dissector',
    section: 'flow_dissector',
    verdicts: [0, 2, 129],
  },
  dissected,
);

/** At a netfilter hook, by a link; since 6.4. Returns NF_DROP or NF_ACCEPT. */
export const netfilter = direct<'netfilter', bpf_nf_ctx>(
  { name: 'netfilter', type: 'netfilter', attachType: 'netfilter', section: 'netfilter', verdicts: [0, 1] },
  structContext(bpf_nf_ctx),
);
