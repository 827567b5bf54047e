/**
 * Reads a BPF ring buffer in Node's event loop and prints what each part of the load cost: what bench/c/ring-consumer.c does.
 *
 *   node bench/servers/ring-consumer.ts ID_OF_THE_MAP
 */
import { openMapById } from '../../src/bpf/loader/map-open.ts';
import { RingBufferReader } from '../../src/bpf/loader/ring-buffer.ts';

const END = 0xffffffff;

const map = openMapById(Number(process.argv[2]));
if (map === null) throw new Error(`there is no map ${process.argv[2]}`);
let records = 0;
/** Two halves: a sum of 64 bits without a BigInt for each record. */
let sumLow = 0;
let sumHigh = 0;
let before = process.cpuUsage();

function tell(): void {
  const { user, system } = process.cpuUsage(before);
  const sum = (BigInt(sumHigh) << 32n) + BigInt(sumLow);
  process.stdout.write(`${JSON.stringify({ records, sum: String(sum), userUs: user, systemUs: system })}\n`);
  records = sumLow = sumHigh = 0;
  before = process.cpuUsage();
}

const reader = new RingBufferReader(map, (view, offset, length) => {
  if (length < 16) return;
  const low = view.getUint32(offset, true);
  const high = view.getUint32(offset + 4, true);
  if (low === END && high === END) {
    tell();
    return;
  }
  records++;
  sumLow += low;
  sumHigh += high;
});
process.stdout.write('ready\n');
process.on('SIGTERM', () => {
  reader[Symbol.dispose]();
  map[Symbol.dispose]();
});
