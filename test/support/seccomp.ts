/**
 * Refuses one system call to the calling thread by a seccomp filter, as containers do (seccomp(2)). There is no way back, so
 * this is for child processes.
 */
import * as constants from '../../src/kernel/constants.ts';
import { check } from '../../src/kernel/error.ts';
import { SOCK_FILTER, SOCK_FPROG } from '../../src/kernel/layouts.ts';
import { addressOf, call, SYS } from '../../src/kernel/syscall.ts';

// Classic BPF as in linux/bpf_common.h: BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K.
const LOAD = 0x20;
const JUMP_IF_EQUAL = 0x15;
const RETURN = 0x06;

/** From now on, system call `number` answers -`errno` to this thread and the threads and processes that it starts. */
export function refuseSystemCall(number: number, errno: number): void {
  const filter = new DataView(new ArrayBuffer(64));
  const program = new DataView(new ArrayBuffer(64));
  const instructions = [
    // struct seccomp_data begins with the call's number.
    [LOAD, 0, 0, 0],
    [JUMP_IF_EQUAL, 0, 1, number],
    [RETURN, 0, 0, constants.SECCOMP_RET_ERRNO | errno],
    [RETURN, 0, 0, constants.SECCOMP_RET_ALLOW],
  ];
  instructions.forEach(([code, whenTrue, whenFalse, operand], index) => {
    const at = index * SOCK_FILTER.size;
    filter.setUint16(at + SOCK_FILTER.code, code, true);
    filter.setUint8(at + SOCK_FILTER.jt, whenTrue);
    filter.setUint8(at + SOCK_FILTER.jf, whenFalse);
    filter.setUint32(at + SOCK_FILTER.k, operand, true);
  });
  program.setUint16(SOCK_FPROG.len, instructions.length, true);
  program.setBigUint64(SOCK_FPROG.filter, BigInt(addressOf(filter)), true);
  check(call(SYS.prctl, constants.PR_SET_NO_NEW_PRIVS, 1), 'prctl', 'PR_SET_NO_NEW_PRIVS');
  const result = call(SYS.prctl, constants.PR_SET_SECCOMP, constants.SECCOMP_MODE_FILTER, addressOf(program));
  check(result, 'prctl', 'PR_SET_SECCOMP');
}
