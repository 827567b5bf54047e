/**
 * Room `cli`: `millrace bpf …`: the commands around eBPF programs and their options. Each command is a file of its own, loaded when it
 * is asked for, so that none waits for the others' code.
 */
import type { Command } from 'commander';

const EXAMPLES = `
Examples:
  millrace bpf build drop.bpf.ts                     compile to drop.bpf.o, a standard eBPF object
  millrace bpf inspect drop.bpf.ts                   its programs as instructions beside the source, its maps, its types
  millrace bpf run drop.bpf.ts --packet http.pcap    run it over captured packets, in this process, without privileges
  millrace bpf load drop.bpf.ts                      ask the kernel's verifier
  millrace bpf load drop.bpf.ts --attach filter=eth0 attach it until Ctrl-C
  millrace bpf types task_struct sock                declarations of kernel types, for programs that read them
  millrace bpf features                              what this kernel has, and why it refuses the rest

A FILE is a program in TypeScript (*.ts) or an eBPF object (*.o), ours or clang's.`;

const collect = (value: string, before: readonly string[] | undefined): readonly string[] => [...(before ?? []), value];

/** Adds `bpf` and its subcommands. */
export function addBpf(program: Command): void {
  const bpf = program
    .command('bpf')
    .description('work with eBPF programs written in TypeScript')
    .addHelpText('after', EXAMPLES);

  bpf
    .command('build')
    .description('compile programs to eBPF objects that every loader takes; needs no privileges')
    .argument('<files...>', 'programs in TypeScript (*.bpf.ts)')
    .option('-o, --output <file>', 'where the object goes; FILE.o for FILE.ts unless told (one FILE only)')
    .option('--no-optimise', 'leave the code as it was written')
    .option('--json', 'machine-readable lines on standard output')
    .action(async (files, options) => (await import('./build.ts')).build(files, options));

  bpf
    .command('load')
    .description('load an object into the kernel: the verifier’s answer, and with --attach or --pin programs that act')
    .argument('<file>', 'a program in TypeScript or an eBPF object')
    .option(
      '--attach <program=hook>',
      'attach a program; the hook as its type has it, may be given several times',
      collect,
    )
    .option('--pin <directory>', 'pin programs, maps and links below a directory on bpffs; what is attached then stays')
    .option('--set <variable=value>', 'value of a global variable, may be given several times', collect)
    .option('--program <name>', 'load only this program, may be given several times', collect)
    .option('--log', 'show the verifier’s whole log')
    .option('--json', 'machine-readable lines on standard output')
    .addHelpText('after', ATTACH_HELP)
    .action(async (file, options) => (await import('./load.ts')).load(file, options));

  bpf
    .command('inspect')
    .description('show an object: instructions beside the source, maps, globals, types; needs no privileges')
    .argument('<file>', 'a program in TypeScript or an eBPF object')
    .option('--program <name>', 'only this program or function')
    .option('--btf', 'the object’s types, too')
    .option('--no-optimise', 'leave the code as it was written')
    .option('--json', 'machine-readable output')
    .action(async (file, options) => (await import('./inspect.ts')).inspect(file, options));

  bpf
    .command('types')
    .description('write declarations of kernel types for use in programs; needs no privileges')
    .argument('<names...>', 'structs, unions, enums or typedefs of the kernel')
    .option('--btf <file>', 'types of another kernel (a BTF file) in place of the running one’s')
    .option('-o, --output <file>', 'in place of standard output')
    .action(async (names, options) => (await import('./types.ts')).types(names, options));

  bpf
    .command('features')
    .description('what this kernel has for eBPF, and why it refuses the rest; tells more with privileges')
    .option('--json', 'machine-readable output')
    .action(async (options) => (await import('./features.ts')).features(options));

  bpf
    .command('run')
    .description('run a program over captured packets and show what it did')
    .argument('<file>', 'a program in TypeScript or an eBPF object')
    .requiredOption('--packet <file>', 'packets: a pcap file')
    .option('--program <name>', 'which program, where there are several')
    .option('--kernel', 'in the kernel (BPF_PROG_TEST_RUN; needs CAP_BPF) and not in this process')
    .option('--set <variable=value>', 'value of a global variable, may be given several times', collect)
    .option('--output <file>', 'write the packets as the program left them to a pcap file')
    .option('--json', 'machine-readable lines on standard output')
    .action(async (file, options) => (await import('./run.ts')).run(file, options));
}

const ATTACH_HELP = `
Hooks by type of program:
  xdp                 an interface: filter=eth0
  tc                  an interface: shape=eth0
  cgroup              a cgroup’s directory, or / for the root: limit=/user.slice
  sockops and others of a cgroup alike; sk_lookup a network namespace’s file, or “self”
  uprobe, usdt        file:function, file:provider:name; nothing where the object says it
  tracepoints, fentry, LSM, iterators    nothing: their hook is in the object (watch=)

Without --attach and --pin nothing stays in the kernel: the verifier’s answer is all.`;
