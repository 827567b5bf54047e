/**
 * The cases of the bpf_conformance suite through the project's own assembler: in the VM all of them, in the kernel all that its
 * verifier lets pass.
 *
 * A newcomer would get wrong: a refusal by the verifier is not a wrong encoding. It is listed with its reason, and what may be
 * refused is bound by number and by reason, so that an instruction encoded wrongly cannot hide there.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { assemble, decode, disassemble, encode, Machine, VmFault } from '../../src/bpf/assembly.ts';
import { reasonOf, VerifierError } from '../../src/bpf/index.ts';
import { type BpfCase, bpfCases, conformanceSkip, kernelSkip, runInKernel } from '../support/bpf.ts';

const cases = bpfCases();

function instructionsOf({ assembly, raw = [] }: BpfCase) {
  if (assembly !== undefined) return assemble(assembly);
  return decode(new Uint8Array(new BigUint64Array(raw).buffer));
}

const hex = (value: bigint | undefined): string => `0x${(value ?? 0n).toString(16)}`;

test('every case has the expected result in the VM', { skip: conformanceSkip }, (context) => {
  assert.ok(cases.length >= 190, `only ${cases.length} cases were found`);
  const wrong: string[] = [];
  for (const one of cases) {
    try {
      const result = new Machine(instructionsOf(one)).run({ memory: one.memory.slice() });
      if (one.isError) wrong.push(`${one.name}: should fail, gave ${hex(result)}`);
      else if (result !== one.result) wrong.push(`${one.name}: ${hex(result)}, not ${hex(one.result)}`);
    } catch (error) {
      if (!(error instanceof VmFault) || !one.isError) wrong.push(`${one.name}: ${error}`);
    }
  }
  assert.deepEqual(wrong, []);
  context.diagnostic(`VM: ${cases.length} of ${cases.length} cases`);
});

test('every case survives encoding, decoding, disassembly and assembly', { skip: conformanceSkip }, () => {
  for (const one of cases) {
    const bytes = encode(instructionsOf(one));
    assert.deepEqual(encode(decode(bytes)), bytes, one.name);
    assert.deepEqual(encode(assemble(disassemble(decode(bytes)))), bytes, one.name);
  }
});

/** The verifier wants immediate shifts below the width, where RFC 9669 masks them; the encoding is right. */
const acceptable = [/^invalid shift -?\d+$/];

test('every case that the verifier permits has the expected result in the kernel', {
  skip: conformanceSkip || kernelSkip,
}, (context) => {
  const wrong: string[] = [];
  const refused: string[] = [];
  let right = 0;
  for (const one of cases) {
    try {
      const result = runInKernel(instructionsOf(one), one.memory);
      if (one.isError || result !== one.result) wrong.push(`${one.name}: ${hex(result)}, not ${hex(one.result)}`);
      else right++;
    } catch (error) {
      if (!(error instanceof VerifierError)) throw error;
      const reason = reasonOf(error.log);
      if (one.isError) right++;
      else if (acceptable.some((pattern) => pattern.test(reason))) refused.push(`${one.name}: ${reason}`);
      else wrong.push(`${one.name}: ${reason}`);
    }
  }
  context.diagnostic(`kernel: ${right} of ${cases.length} cases, ${refused.length} refused by the verifier`);
  for (const line of refused) context.diagnostic(`refused: ${line}`);
  assert.deepEqual(wrong, []);
  assert.ok(refused.length <= 9, `${refused.length} cases are refused`);
  assert.equal(right + refused.length, cases.length);
});
