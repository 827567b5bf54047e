/**
 * Programs for the processes of a cgroup: packets, sockets, addresses, socket options, sysctls, devices, and values that lie beside
 * sockets and cgroups.
 */
import {
  AF_INET,
  array,
  BPF_DEVCG_ACC_READ,
  BPF_DEVCG_DEV_CHAR,
  BPF_LOCAL_STORAGE_GET_F_CREATE,
  be16,
  be32,
  bpf_bind,
  bpf_get_current_cgroup_id,
  bpf_get_socket_cookie,
  bpf_set_retval,
  bpf_setsockopt,
  bpf_sysctl_get_name,
  bpf_sysctl_get_new_value,
  bpf_sysctl_set_new_value,
  cgroupBind4,
  cgroupBind6,
  cgroupConnect4,
  cgroupConnect6,
  cgroupConnectUnix,
  cgroupDevice,
  cgroupGetpeername4,
  cgroupGetpeername6,
  cgroupGetpeernameUnix,
  cgroupGetsockname4,
  cgroupGetsockname6,
  cgroupGetsocknameUnix,
  cgroupGetsockopt,
  cgroupLocalStorage,
  cgroupPostBind4,
  cgroupPostBind6,
  cgroupRecvmsg4,
  cgroupRecvmsg6,
  cgroupRecvmsgUnix,
  cgroupSendmsg4,
  cgroupSendmsg6,
  cgroupSendmsgUnix,
  cgroupSetsockopt,
  cgroupSkbEgress,
  cgroupSkbIngress,
  cgroupSockCreate,
  cgroupSockRelease,
  cgroupSysctl,
  EACCES,
  global,
  hash,
  IPPROTO_UDP,
  Ipv4,
  local,
  packet,
  perCpuCgroupLocalStorage,
  readOnly,
  SO_PRIORITY,
  SOCK_RAW,
  SOL_SOCKET,
  socketStorage,
  struct,
  swap16,
  Udp,
  u8,
  u16,
  u32,
  u64,
} from '../../../src/bpf/library/index.ts';

const LOOPBACK = 0x7f00_0001;

export const servicePort = readOnly(u16, 0);
export const realPort = readOnly(u16, 0);

/** What each cgroup sent, kept by the kernel beside the cgroup. */
export const sent = cgroupLocalStorage({ value: u64 });
export const quotaBytes = readOnly(u64, 0n);

/** Lets a cgroup send so many bytes and no more. */
export const quota = cgroupSkbEgress((context) => {
  const total = sent.get(0);
  total.value += u64(context.len);
  return total.value <= quotaBytes.value ? 1 : 0;
});

export const heard = perCpuCgroupLocalStorage({ value: u64 });

/** Counts what each cgroup hears, on each CPU for itself. */
export const countHeard = cgroupSkbIngress((context) => {
  const total = heard.get(0);
  total.value += u64(context.len);
  return 1;
});

/** Drops datagrams for one port. The packet begins with its IP header. */
export const refusePort = cgroupSkbIngress((context) => {
  const ip = packet(context, Ipv4, 0);
  if (ip === null || ip.protocol !== IPPROTO_UDP) return 1;
  const udp = packet(context, Udp, Ipv4.size);
  return udp !== null && udp.destination === servicePort.value ? 0 : 1;
});

export const Birth = struct({ cookie: u64, cgroup: u64 });
export const births = socketStorage({ value: Birth });
export const created = global(u32);
export const released = global(u32);

/** Refuses raw sockets, marks the others. */
export const onCreate = cgroupSockCreate((socket) => {
  if (socket.type === SOCK_RAW) return 0;
  socket.mark = 42;
  created.value += 1;
  return 1;
});

export const onRelease = cgroupSockRelease((socket) => {
  if (socket.mark === 42) released.value += 1;
  return 1;
});

/** Gives each socket a value of its own when it is bound. */
export const afterBind4 = cgroupPostBind4((socket) => {
  if (socket.src_ip4 !== LOOPBACK || socket.src_port === servicePort.value) return 0;
  return 1;
});

export const afterBind6 = cgroupPostBind6((socket) => {
  if (socket.src_ip6[3] !== 1) return 0;
  return socket.src_port === servicePort.value ? 0 : 1;
});

/** Binds to the real port whoever asks for the service's. */
export const bind4 = cgroupBind4((context) => {
  if (swap16(context.user_port) === servicePort.value) context.user_port = swap16(realPort.value);
  return 1;
});

export const bind6 = cgroupBind6((context) => {
  if (swap16(context.user_port) === servicePort.value) context.user_port = swap16(realPort.value);
  return 1;
});

const Address = struct({ family: u16, port: be16, address: be32, zero: array(u8, 8) });

/** Sends connections for any address to the loopback, from a source of its choice. */
export const connect4 = cgroupConnect4((context) => {
  if (swap16(context.user_port) !== servicePort.value) return 1;
  context.user_ip4 = LOOPBACK;
  context.user_port = swap16(realPort.value);
  const source = local(Address, { family: AF_INET, address: 0x7f00_0009 });
  return bpf_bind(context, source) === 0 ? 1 : 0;
});

export const connect6 = cgroupConnect6((context) => {
  if (swap16(context.user_port) !== servicePort.value) return 1;
  context.user_ip6[0] = 0;
  context.user_ip6[1] = 0;
  context.user_ip6[2] = 0;
  context.user_ip6[3] = 1;
  context.user_port = swap16(realPort.value);
  return 1;
});

/** Refuses with an error of its own. */
export const connectUnix = cgroupConnectUnix(() => {
  bpf_set_retval(-EACCES);
  return 0;
});

const UnixCalls = struct({ sendmsg: u32, recvmsg: u32, peer: u32, own: u32 });
export const unix = global(UnixCalls);

export const sendmsgUnix = cgroupSendmsgUnix(() => {
  unix.value.sendmsg += 1;
  return 0;
});

export const recvmsgUnix = cgroupRecvmsgUnix(() => {
  unix.value.recvmsg += 1;
  return 1;
});

export const getpeernameUnix = cgroupGetpeernameUnix(() => {
  unix.value.peer += 1;
  return 1;
});

export const getsocknameUnix = cgroupGetsocknameUnix(() => {
  unix.value.own += 1;
  return 1;
});

export const sendmsg4 = cgroupSendmsg4((context) => {
  if (swap16(context.user_port) !== servicePort.value) return 1;
  context.user_ip4 = LOOPBACK;
  context.user_port = swap16(realPort.value);
  return 1;
});

export const sendmsg6 = cgroupSendmsg6((context) => {
  if (swap16(context.user_port) === servicePort.value) context.user_port = swap16(realPort.value);
  return 1;
});

/** The other half: answers seem to come from the service. */
export const recvmsg4 = cgroupRecvmsg4((context) => {
  if (swap16(context.user_port) !== realPort.value) return 1;
  context.user_ip4 = 0xc000_0201;
  context.user_port = swap16(servicePort.value);
  return 1;
});

export const recvmsg6 = cgroupRecvmsg6((context) => {
  if (swap16(context.user_port) === realPort.value) context.user_port = swap16(servicePort.value);
  return 1;
});

export const getpeername4 = cgroupGetpeername4((context) => {
  context.user_ip4 = 0xc000_0201;
  context.user_port = swap16(servicePort.value);
  return 1;
});

export const getpeername6 = cgroupGetpeername6((context) => {
  context.user_port = swap16(servicePort.value);
  return 1;
});

export const getsockname4 = cgroupGetsockname4((context) => {
  context.user_ip4 = 0xc000_0202;
  return 1;
});

export const getsockname6 = cgroupGetsockname6((context) => {
  context.user_ip6[3] = 7;
  return 1;
});

/** An option that the kernel does not have: a number beside each socket. */
export const OPTION = 0x5eed;
const Option = struct({ value: u32 });
export const options = socketStorage({ value: Option });

export const setOption = cgroupSetsockopt((context) => {
  if (context.level !== SOL_SOCKET || context.optname !== OPTION) return 1;
  const given = packet(context, Option, 0);
  if (given === null || given.value > 1000) return 0;
  const kept = options.get(context.sk, null, BPF_LOCAL_STORAGE_GET_F_CREATE);
  if (kept === null) return 0;
  kept.value = given.value;
  // The kernel shall not look at it.
  context.optlen = -1;
  return 1;
});

export const getOption = cgroupGetsockopt((context) => {
  if (context.level !== SOL_SOCKET || context.optname !== OPTION) return 1;
  const answer = packet(context, Option, 0);
  const kept = options.get(context.sk, null, 0);
  if (answer === null || kept === null) return 0;
  answer.value = kept.value * 2;
  context.optlen = Option.size;
  context.retval = 0;
  return 1;
});

export const Name = struct({ text: array(u8, 32) });
export const hidden = hash({ key: Name, value: u32, maxEntries: 8 });

/** Hides some sysctls, and writes a value of its own in the place of "7". */
export const sysctls = cgroupSysctl((context) => {
  const name = local(Name);
  if (bpf_sysctl_get_name(context, name, 0) < 0) return 0;
  if (hidden.lookup(name) !== null) return 0;
  if (context.write === 0) return 1;
  const text = local(array(u8, 8));
  if (bpf_sysctl_get_new_value(context, text) < 0) return 1;
  if (text.value[0] !== 0x37) return 1;
  const better = local(array(u8, 2), [0x35, 0x35]);
  return bpf_sysctl_set_new_value(context, better) < 0 ? 0 : 1;
});

export const hungry = global(u32);

/** /dev/zero cannot be read; everything else can. */
export const devices = cgroupDevice((context) => {
  const isCharacter = (context.access_type & 0xffff) === BPF_DEVCG_DEV_CHAR;
  const reads = ((context.access_type >> 16) & BPF_DEVCG_ACC_READ) !== 0;
  if (!isCharacter || !reads || context.major !== 1 || context.minor !== 5) return 1;
  hungry.value += 1;
  return 0;
});

/** Remembers where and by whom a socket connects, beside the socket, and gives it a priority. */
export const rememberBirth = cgroupConnect4((context) => {
  const birth = births.get(context.sk, null, BPF_LOCAL_STORAGE_GET_F_CREATE);
  if (birth === null) return 0;
  birth.cookie = bpf_get_socket_cookie(context);
  birth.cgroup = bpf_get_current_cgroup_id();
  const priority = local(u32, 5);
  return bpf_setsockopt(context, SOL_SOCKET, SO_PRIORITY, priority) === 0 ? 1 : 0;
});
