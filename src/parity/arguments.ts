/** The flags of `dawntune parity FOLDER`. */

import { parseToldFlags } from '../console/told-flags.js';
import { InputError } from '../errors.js';
import {
  adapterFlag,
  boolean,
  choice,
  debugFlag,
  type FlagValues,
  group,
  optional,
  progressFlag,
  type ValueType,
  withDefault,
} from '../flags.js';
import type { ForcedKernels } from '../gpu/choices.js';
import { startFlags } from '../ranks/arguments.js';

/** Mistakes that the command must notice; `--deliberate_error` makes one. */
export const deliberateErrors = ['tanh-gelu', 'beta2', 'decay-biases', 'missing-term'] as const;
export type DeliberateError = (typeof deliberateErrors)[number];

/** `fallback`, or pairs such as `matmul=packed-texture-tree,attention=subgroup8`. */
const forcedKernels: ValueType<ForcedKernels> = {
  expects: 'fallback, or FAMILY=VARIANT pairs with commas between them',
  placeholder: 'KERNELS',
  many: false,
  separator: ',',
  parse(words) {
    const [word] = words;
    if (words.length !== 1 || !word) return undefined;
    if (word === 'fallback') return 'fallback';
    const pairs = word.split(',').map((pair) => /^(\w+)=([\w-]+)$/.exec(pair));
    if (!pairs.every((pair) => pair !== null)) return undefined;
    return Object.fromEntries(pairs.map(([, family, variant]) => [family, variant]));
  },
};

export const parityFlags = {
  ...group('Parity', {
    fp16: withDefault(boolean, false, 'compute in mixed precision, with the looser bounds of that'),
    deliberate_error: optional(
      choice(deliberateErrors),
      'make this mistake on purpose, to see that the command notices',
    ),
    kernels: optional(
      forcedKernels,
      'use these variants where the adapter supports them, e.g. matmul=tile64; each must have been used',
    ),
  }),
  ...adapterFlag,
  ...startFlags,
  ...progressFlag,
  ...debugFlag,
};

export interface ParityArguments extends FlagValues<typeof parityFlags> {
  readonly folder: string;
}

/** @throws InputError, one line that names the flag. */
export function parseParityArguments(argv: readonly string[]): ParityArguments {
  const { values, positionals } = parseToldFlags(parityFlags, argv, { positionals: true });
  const [folder] = positionals;
  if (positionals.length !== 1 || !folder)
    throw new InputError(`parity: expected one folder of goldens, found ${positionals.length}`);
  return { ...values, folder };
}
