/**
 * Judges messages of a length-prefixed protocol as they are sent: unknown kinds and wrong lengths are dropped.
 */
import {
  array,
  atomicAdd,
  be16,
  be32,
  bpf_msg_apply_bytes,
  packet,
  SK_DROP,
  SK_PASS,
  skMsg,
  struct,
  u8,
  u64,
} from '../../../src/bpf/library/index.ts';
import { Counters } from './shared.bpf.ts';

const KINDS = 8;
const LENGTH_MAX = 65536;

const Header = struct({ length: be32, version: u8, kind: u8, stream: be16 });

export const kinds = array({ value: Counters, maxEntries: KINDS });

export const messageVerdict = skMsg((context) => {
  const header = packet(context, Header, 0);
  if (header === null) return SK_DROP;
  const length = header.length;
  if (header.version !== 1 || length < Header.size || length > LENGTH_MAX) return SK_DROP;
  const counters = kinds.lookup(header.kind);
  if (counters === null) return SK_DROP;
  atomicAdd(counters, 'packets', 1n);
  atomicAdd(counters, 'bytes', u64(length));
  bpf_msg_apply_bytes(context, length);
  return SK_PASS;
});
