/** The registry: every suite of `dawntune bench`, in the order of its help. */
import { encodeBenchFlags } from './encode/flags.js';
import { kernelsFlags } from './kernels/flags.js';
import { type KernelSuiteName, kernelSummaries } from './kernels/names.js';
import { dispatchFlags, memoryFlags, scalingFlags, stepFlags, tuneFlags } from './options.js';
import { peersFlags } from './peers/flags.js';
import { ranksFlags } from './ranks/flags.js';
import { searchFlags } from './search/flags.js';
import type { Suite } from './suite.js';

const kernelSuites = Object.entries(kernelSummaries).map(
  ([name, summary]): Suite => ({
    name,
    summary,
    flags: kernelsFlags,
    load: async () => (await import('./kernels/suites.js')).kernelSuite(name as KernelSuiteName),
  }),
);

export const suites: readonly Suite[] = [
  ...kernelSuites,
  {
    name: 'dispatch',
    summary: 'what the host pays for a dispatch, beside the same calls of WebGPU alone',
    flags: dispatchFlags,
    load: async () => (await import('./dispatch.js')).benchDispatch,
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
    name: 'scaling',
    summary: 'memory of a rank and bytes that it sends in a step, for 1 to 64 ranks',
    flags: scalingFlags,
    load: async () => (await import('./scaling.js')).benchScaling,
  },
  {
    name: 'ranks',
    summary: 'what several ranks exchange, and how fast',
    flags: ranksFlags,
    load: async () => (await import('./ranks.js')).benchRanks,
  },
  {
    name: 'search',
    summary: 'exact search beside its product alone, usearch and faiss',
    flags: searchFlags,
    load: async () => (await import('./search.js')).benchSearch,
  },
  {
    name: 'peers',
    summary: 'products, attention and a training step beside other libraries, in turns in one run',
    flags: peersFlags,
    load: async () => (await import('./peers.js')).benchPeers,
  },
  {
    name: 'encode',
    summary: 'texts to vectors, beside FlagEmbedding and sentence-transformers',
    flags: encodeBenchFlags,
    load: async () => (await import('./encode.js')).benchEncode,
  },
  {
    name: 'tune',
    summary: 'finds the fastest variants on this machine and keeps them for --tune cached',
    flags: tuneFlags,
    load: async () => (await import('./tune.js')).benchTune,
  },
];
