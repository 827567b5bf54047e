// Builds one program as the installed package does: from dist/, with the compile cache that bin/millrace.js turns on.
//
//   node bench/servers/cold-build.js PROGRAM.bpf.ts OBJECT.o
import module from 'node:module';

module.enableCompileCache();
const { main } = await import('../../dist/cli/main.js');
await main(['bpf', 'build', process.argv[2], '-o', process.argv[3]]);
