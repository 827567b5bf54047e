/**
 * USDT probes in an executable that the test compiles: found in its notes, attached, run.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after, before } from 'node:test';
import { Executable } from '../../src/bpf/loader/links/executable.ts';
import { kernelSkip as skip } from '../support/bpf-kernel.ts';
import { kind, loadCounter } from '../support/bpf-object.ts';

// What the macros of sys/sdt.h make of a probe: an instruction that does nothing, and a note that says where it is. The semaphore
// counts who wants the probe.
const source = String.raw`
unsigned short demo_tick_semaphore __attribute__((section(".probes")));
int main(void) {
  for (int i = 0; i < 25; i++) {
    if (!*(volatile unsigned short *)&demo_tick_semaphore) continue;
    __asm__ volatile(
        "990: nop\n"
        ".pushsection .note.stapsdt,\"?\",\"note\"\n"
        ".balign 4\n"
        ".4byte 992f-991f, 994f-993f, 3\n"
        "991: .asciz \"stapsdt\"\n"
        "992: .balign 4\n"
        "993: .8byte 990b\n"
        ".8byte _.stapsdt.base\n"
        ".8byte demo_tick_semaphore\n"
        ".asciz \"demo\"\n"
        ".asciz \"tick\"\n"
        ".asciz \"-4@%%edi\"\n"
        "994: .balign 4\n"
        ".popsection\n"
        ".pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n"
        ".weak _.stapsdt.base\n"
        ".hidden _.stapsdt.base\n"
        "_.stapsdt.base: .space 1\n"
        ".size _.stapsdt.base,1\n"
        ".popsection\n" : : "D"(i));
  }
  return 0;
}
`;

let directory = '';
let binary = '';

before(() => {
  directory = mkdtempSync(join(tmpdir(), 'millrace-usdt-'));
  writeFileSync(join(directory, 'demo.c'), source);
  binary = join(directory, 'demo');
  const { status, stderr } = spawnSync('cc', ['-O1', '-o', binary, join(directory, 'demo.c')], { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
});
after(() => rmSync(directory, { recursive: true }));

test('a probe is found with its provider, its place and its arguments', () => {
  using executable = new Executable(binary);
  const [probe, ...others] = executable.usdtProbes();
  assert.deepEqual(others, []);
  assert.deepEqual([probe.provider, probe.name, probe.arguments], ['demo', 'tick', '-4@%edi']);
  const main = executable.functionOffset('main');
  assert.ok(probe.offset > main && probe.offset < main + 200);
  assert.ok(probe.semaphoreOffset > 0);
});

test('a program attached to a probe runs each time, and the semaphore is up meanwhile', { skip }, () => {
  using counter = loadCounter(kind('kprobe', { section: 'usdt' }), 0);
  {
    using _link = counter.program.attach({ usdt: { executable: binary, provider: 'demo', name: 'tick' } });
    assert.equal(spawnSync(binary).status, 0);
    assert.equal(counter.hits(), 25);
  }
  spawnSync(binary);
  assert.equal(counter.hits(), 25);
});
