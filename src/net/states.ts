/**
 * Room `net`: the states of a connection, a set of bits in one small integer.
 */
export const CONNECTING = 1 << 0;
export const OPEN = 1 << 1;
export const READING = 1 << 2;
/** `end` was called: nothing further may be written. */
export const ENDING = 1 << 3;
/** Our FIN is on its way, behind everything written. */
export const WRITE_SHUT = 1 << 4;
export const PEER_ENDED = 1 << 5;
/** Asked the engine to close; only `closed` follows. */
export const CLOSING = 1 << 6;
export const CLOSED = 1 << 7;
/** The engine has a send under way. */
export const SENDING = 1 << 8;
/** Waits in the engine's job queue to be flushed. */
export const QUEUED = 1 << 9;
/** A write returned false; `drain` is owed. */
export const NEEDS_DRAIN = 1 << 10;
export const UNREFERENCED = 1 << 11;
/** Closes once the peer has, what it still sends is thrown away. */
export const LINGERING = 1 << 12;
export const HALF_OPEN = 1 << 13;
/** `close` was called: lingers after the end. */
export const CLOSE_ASKED = 1 << 14;
export const CORKED = 1 << 16;
/** The handle is attached to an engine. */
export const ATTACHED = 1 << 17;
