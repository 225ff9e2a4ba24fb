/** The flags of `dawntune parity FOLDER`. */
import { InputError } from '../errors.js';
import {
  adapterFlag,
  boolean,
  choice,
  debugFlag,
  type FlagValues,
  group,
  optional,
  parseFlags,
  withDefault,
} from '../flags.js';

/** Mistakes that the command must notice; `--deliberate_error` makes one. */
export const deliberateErrors = ['tanh-gelu', 'beta2', 'decay-biases', 'missing-term'] as const;
export type DeliberateError = (typeof deliberateErrors)[number];

export const parityFlags = {
  ...group('Parity', {
    fp16: withDefault(boolean, false, 'compute in mixed precision, with the looser bounds of that'),
    deliberate_error: optional(
      choice(deliberateErrors),
      'make this mistake on purpose, to see that the command notices',
    ),
  }),
  ...adapterFlag,
  ...debugFlag,
};

export interface ParityArguments extends FlagValues<typeof parityFlags> {
  readonly folder: string;
}

/** @throws InputError, one line that names the flag. */
export function parseParityArguments(argv: readonly string[]): ParityArguments {
  const { values, positionals } = parseFlags(parityFlags, argv, { positionals: true });
  const [folder] = positionals;
  if (positionals.length !== 1 || !folder)
    throw new InputError(`parity: expected one folder of goldens, found ${positionals.length}`);
  return { ...values, folder };
}
