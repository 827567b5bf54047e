/**
 * Room `net`: the public surface, `millrace/net`.
 */
export { type EngineChoice, engineNames } from '../engine/choose.ts';
export type { EngineName } from '../engine/engine.ts';
export { RECEIVED_DONE, RECEIVED_KEEP, RECEIVED_QUIET } from '../engine/engine.ts';
export { formatAddress, type SocketAddress } from '../kernel/address.ts';
export { KernelError } from '../kernel/error.ts';
export type { PeerCredentials } from '../kernel/socket.ts';
export { type Adopted, adopt } from './adopt.ts';
export { bindDatagrams, type DatagramOptions } from './bind-datagrams.ts';
export { type ClientConnection, type ConnectOptions, connect } from './connect.ts';
export type { Connection, ConnectionHandler } from './connection.ts';
export type { ConnectionOptions } from './context.ts';
export type { DatagramSocket } from './datagram.ts';
export type { DatagramHandler, MessageInfo } from './datagram-handler.ts';
export type { SendOptions } from './datagram-limits.ts';
export type { DatagramSocketOptions, MulticastOptions } from './datagram-options.ts';
export type { Payload } from './datagram-payload.ts';
export type { SendCallback } from './datagram-queue.ts';
export type { UndeliveredDatagram } from './error-queue.ts';
export { type ListenOptions, listen } from './listen.ts';
export type { Listener, ListenerEvents } from './listener.ts';
export { releaseEngine, useEngine } from './runtime.ts';
export type { StreamSocketOptions } from './stream-options.ts';
export type { Target } from './target.ts';
export type { UnixPathOptions } from './unix-path.ts';
