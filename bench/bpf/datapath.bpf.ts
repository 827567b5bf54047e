/**
 * A module of the size of a datapath for `npm run bench -- compile`: six programs of the suite in one object.
 */
export * from '../../test/bpf/programs/l4-parser.bpf.ts';
export * from '../../test/bpf/programs/lpm-firewall.bpf.ts';
export * from '../../test/bpf/programs/maglev.bpf.ts';
export * from '../../test/bpf/programs/nat.bpf.ts';
export * from '../../test/bpf/programs/syn-cookie.bpf.ts';
export * from '../../test/bpf/programs/token-bucket.bpf.ts';
