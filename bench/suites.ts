/** The registry: every suite of `dawntune bench`, in the order of its help. */
import { kernelsFlags, memoryFlags, stepFlags, tuneFlags } from './options.js';
import type { Suite } from './suite.js';

export const suites: readonly Suite[] = [
  {
    name: 'kernels',
    summary: 'throughput of the main kernels, each checked against its reference first',
    flags: kernelsFlags,
    load: async () => (await import('./kernels.js')).benchKernels,
  },
  {
    name: 'step',
    summary: 'time of whole training steps, from random weights',
    flags: stepFlags,
    load: async () => (await import('./step.js')).benchStep,
  },
  {
    name: 'memory',
    summary: 'GPU memory that a step takes, by purpose',
    flags: memoryFlags,
    load: async () => (await import('./memory.js')).benchMemory,
  },
  {
    name: 'tune',
    summary: 'finds the fastest variants on this machine and keeps them for --tune cached',
    flags: tuneFlags,
    load: async () => (await import('./tune.js')).benchTune,
  },
];
