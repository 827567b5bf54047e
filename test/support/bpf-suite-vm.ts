/**
 * Test support: the suite's objects in the VM, where every type of program runs and instructions are counted.
 *
 * A newcomer would get wrong: the clock stands still within a run and goes on by a step from one to the next. A program that asks for
 * the time once more than its counterpart is not told apart by that.
 */
import type { ObjectSpec } from '../../src/bpf/object/spec.ts';
import { instantiate, type VmObject } from '../../src/bpf/vm/object.ts';
import { contentOf, named, type Observation, type Outcome, observe, type Runner } from './bpf-suite.ts';
import type { Input, MapContent, SuiteCase } from './bpf-suite-case.ts';

const STEP_NS = 50_000_000n;
const TASK = { pid: 4711, threadId: 4712 };

const hex = (data: Uint8Array): string => Buffer.from(data).toString('hex');
/** What stands for every socket: struct bpf_sock. */
const socketMemory = new Uint8Array(80);

export class VmRunner implements Runner {
  /** Instructions of all runs. */
  executed = 0;
  readonly #case: SuiteCase;
  readonly #object: VmObject;
  #now = 1_000_000_000n;

  constructor(suiteCase: SuiteCase, spec: ObjectSpec) {
    this.#case = suiteCase;
    const variables = Object.fromEntries(
      spec.data.flatMap((section) => section.variables).map(({ name }) => [name, name]),
    );
    const constants = Object.entries(suiteCase.constants ?? {}).map(([name, value]) => [named(variables, name), value]);
    const world = { now: () => this.#now, task: TASK };
    this.#object = instantiate(spec, { constants: Object.fromEntries(constants), world });
    suiteCase.prepare?.({
      set: (map, key, value) => named(this.#object.maps, map).set(key, value),
      assign: (variable, value) => {
        named(this.#object.variables, variable).value = value;
      },
      listen: (map, key) => named(this.#object.maps, map).refer(key, socketMemory),
    });
  }

  run({ program = this.#case.program, data, context, sysctlName }: Input): Outcome {
    this.#now += STEP_NS;
    const sysctl = sysctlName === undefined ? undefined : { name: sysctlName, current: '' };
    const run = named(this.#object.programs, program).run({ packet: data, context, sysctl });
    this.executed += run.executed;
    return {
      result: run.action,
      data: run.packet === null ? '' : hex(run.packet),
      context: context === undefined ? '' : hex(run.contextBytes),
    };
  }

  observation(): Observation {
    const contentOfMap = (name: string): MapContent => {
      const map = named(this.#object.maps, name);
      return contentOf((map.keys() as Uint8Array[]).map((key) => [key, map.getAll(key) as Uint8Array[]]));
    };
    const end = observe(this.#case, contentOfMap, (name) => named(this.#object.variables, name).value);
    const { records = [] } = this.#case;
    return {
      ...end,
      ...Object.fromEntries(records.map((name) => [name, named(this.#object.maps, name).records().map(hex)])),
    };
  }

  [Symbol.dispose](): void {}
}

/** The case's object in the VM, its maps filled. */
export function inVm(suiteCase: SuiteCase, spec: ObjectSpec): VmRunner {
  return new VmRunner(suiteCase, spec);
}
