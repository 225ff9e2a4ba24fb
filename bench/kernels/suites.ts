/** The kernel suites: which families each measures. `kernels` measures all of them. */
import { families } from '../../src/kernels/families.js';
import type { Family } from '../../src/kernels/variants.js';
import { type KernelSuiteName, suiteOf } from './names.js';
import { runKernelSuite } from './run.js';

const familiesOf = (suite: KernelSuiteName): Family[] =>
  families.filter(({ name }) => suite === 'kernels' || suiteOf(name) === suite);

/** The command of a suite. */
export const kernelSuite =
  (name: KernelSuiteName) =>
  (argv: readonly string[]): Promise<number> =>
    runKernelSuite({ name, families: familiesOf(name), all: families }, argv);
