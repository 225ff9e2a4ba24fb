/** The flags of `dawntune doctor`. */
import {
  adapterFlag,
  boolean,
  debugFlag,
  type FlagValues,
  group,
  parseFlags,
  progressFlag,
  withDefault,
} from '../flags.js';

export const doctorFlags = {
  ...adapterFlag,
  ...group('Output', {
    json: withDefault(boolean, false, 'print everything that was found as one JSON object'),
  }),
  ...progressFlag,
  ...debugFlag,
};

export type DoctorArguments = FlagValues<typeof doctorFlags>;

/** @throws InputError, one line that names the flag. */
export function parseDoctorArguments(argv: readonly string[]): DoctorArguments {
  return parseFlags(doctorFlags, argv).values;
}
