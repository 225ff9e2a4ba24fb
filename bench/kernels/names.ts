/** The kernel suites by name, apart from the kernels themselves, which help does not load. */

/** In the order of the help. */
export const kernelSummaries = {
  kernels: 'every kernel family, each result checked before it is timed',
  matmul: 'matrix products in all layouts',
  attention: 'fused attention over packed sequences, forward and gradient',
  layernorm: 'LayerNorm with residual, forward and gradient',
  gelu: 'GELU, dropout and other operations on single elements, forward and gradient',
  softmax: 'softmax over rows, forward and gradient',
  adamw: 'the optimiser: AdamW, gradient norm',
  embedding: 'rows gathered from a table, and the gradient of that',
  losses: 'what losses are made of: cross-entropies, distillation, lexical scores, ColBERT’s MaxSim',
  reduce: 'sums, means, maxima and lengths of rows, and their best entries',
  copy: 'copies, in steps too, and what the adapter can do at most',
} as const;

export type KernelSuiteName = keyof typeof kernelSummaries;

/** The first pattern that the name of a family matches says to which suite it belongs. */
const MEMBERS: readonly (readonly [KernelSuiteName, RegExp])[] = [
  ['matmul', /^matmul/i],
  ['attention', /^attention/i],
  ['layernorm', /^layerNorm/i],
  ['losses', /cross.?entropy|maxSim|loss|scores?/i],
  ['softmax', /softmax/i],
  ['adamw', /adamW|norm$|clip/i],
  ['embedding', /gather|embedding|scatter/i],
  ['reduce', /^(rows|columns|sum|max|topK|mean|reduce|segment|normalize)/i],
  ['copy', /^(copy|fmaPeak|fill|cast|strided)/i],
  ['gelu', /gelu|elements|unary|binary|pointwise|dropout|scale/i],
];

/** Undefined: only `kernels` measures it, which a test forbids. */
export const suiteOf = (family: string): KernelSuiteName | undefined =>
  MEMBERS.find(([, pattern]) => pattern.test(family))?.[0];
