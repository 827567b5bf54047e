/**
 * Room `cli`: `millrace bpf load`: an object into the kernel: the verifier's answer, and where asked for, programs at their hooks.
 *
 * A newcomer would get wrong: what is attached lives as long as its link. Without --pin the links are this process's, so the command
 * stays until it is told to end; with --pin they have names on bpffs and stay by themselves.
 */
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Collection, loadObject } from '../../bpf/loader/collection.ts';
import { programInfo } from '../../bpf/loader/info.ts';
import type { Attachment } from '../../bpf/loader/links/link.ts';
import { VerifierError } from '../../bpf/loader/verifier.ts';
import { Lifetime } from '../lifetime.ts';
import { targetOf } from './hooks.ts';
import { type CommonOptions, constantsOf, counted, guarded, pair, readObject, say, UsageError } from './report.ts';

export interface LoadCommandOptions extends CommonOptions {
  readonly attach?: readonly string[];
  readonly pin?: string;
  readonly set?: readonly string[];
  readonly program?: readonly string[];
  readonly log?: boolean;
}

/** Prints what the verifier said of each program. */
function tellPrograms(collection: Collection, options: LoadCommandOptions): void {
  for (const program of Object.values(collection.programs)) {
    const { id, verifiedInstructions, translatedBytes, compiledBytes } = programInfo(program.descriptor);
    say(
      options,
      `${program.name}: accepted; the verifier went through ${counted(verifiedInstructions, 'instruction')}, ` +
        `${translatedBytes / 8} are loaded, ${compiledBytes} bytes of machine code`,
      {
        event: 'loaded',
        program: program.name,
        id,
        section: program.kind.section,
        verifiedInstructions,
        instructions: translatedBytes / 8,
        machineCodeBytes: compiledBytes,
        ...(options.log === true ? { log: program.log } : {}),
      },
    );
    if (options.log === true && options.json !== true) process.stdout.write(`${program.log}\n`);
  }
}

interface Attached {
  readonly program: string;
  readonly hook: string;
  readonly link: Attachment;
}

function attachAll(collection: Collection, options: LoadCommandOptions, stack: DisposableStack): Attached[] {
  return (options.attach ?? []).map((setting) => {
    const [name, hook] = pair('--attach', setting);
    const program = collection.programs[name];
    if (program === undefined) {
      throw new UsageError(`--attach ${setting}: the object has ${Object.keys(collection.programs).join(', ')}`);
    }
    const link = stack.use(program.attach(targetOf(program.kind, hook, setting)));
    const where = hook === '' ? program.kind.section : hook;
    say(options, `${name}: attached to ${where}`, { event: 'attached', program: name, hook: where });
    return { program: name, hook: where, link };
  });
}

interface Pinnable {
  pin(path: string): void;
}

/** Pins everything below a directory. What was pinned before a failure goes again. */
function pinAll(directory: string, collection: Collection, attached: readonly Attached[]): number {
  const made: string[] = [];
  const pin = (path: string, object: Pinnable): void => {
    object.pin(path);
    made.push(path);
  };
  const isNew = !existsSync(directory);
  try {
    if (isNew) mkdirSync(directory, { recursive: true });
    for (const [name, program] of Object.entries(collection.programs)) pin(join(directory, `program-${name}`), program);
    for (const [name, map] of Object.entries(collection.maps)) pin(join(directory, `map-${name}`), map);
    for (const { program, link } of attached) {
      if (!('pin' in link))
        throw new UsageError(`the attachment of ${program} is a socket’s or a map’s; it has no link to pin`);
      pin(join(directory, `link-${program}`), link as Attachment & Pinnable);
    }
  } catch (error) {
    for (const path of made) rmSync(path, { force: true });
    if (isNew) rmSync(directory, { force: true, recursive: true });
    throw error;
  }
  return made.length;
}

export async function load(file: string, options: LoadCommandOptions): Promise<void> {
  await guarded(options, async () => {
    const spec = await readObject(file);
    try {
      await act(file, options, spec);
    } catch (error) {
      if (options.log === true && error instanceof VerifierError) process.stderr.write(`${error.log}\n`);
      throw error;
    }
  });
}

async function act(
  file: string,
  options: LoadCommandOptions,
  spec: Awaited<ReturnType<typeof readObject>>,
): Promise<void> {
  using stack = new DisposableStack();
  const collection = stack.use(
    loadObject(spec, {
      constants: constantsOf(options.set, spec),
      ...(options.program === undefined ? {} : { programs: options.program }),
      logLevel: options.log === true ? 2 : 0,
    }),
  );
  tellPrograms(collection, options);
  const attached = attachAll(collection, options, stack);
  if (options.pin !== undefined) {
    const count = pinAll(options.pin, collection, attached);
    const how = `remove the directory to take ${attached.length === 0 ? 'them' : 'everything'} away`;
    say(options, `${counted(count, 'pin')} below ${options.pin}; ${how}`, {
      event: 'pinned',
      directory: options.pin,
      count,
    });
    return;
  }
  if (attached.length === 0) return;
  const lifetime = new Lifetime();
  say(options, `${file} acts until Ctrl-C`, { event: 'ready', file });
  await new Promise<void>((resolve) => {
    // Holds the process: links alone give Node's event loop nothing to wait for.
    const hold = setInterval(() => {}, 1 << 30);
    lifetime.started({
      reload: async () => {},
      end: async () => {
        clearInterval(hold);
        stack.dispose();
        say(options, 'detached', { event: 'detached' });
        resolve();
      },
    });
  });
}
