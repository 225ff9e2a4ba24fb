/** The flags of `dawntune doctor`. */

import { parseToldFlags } from '../console/told-flags.js';
import {
  adapterFlag,
  boolean,
  debugFlag,
  type FlagValues,
  group,
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
  return parseToldFlags(doctorFlags, argv).values;
}
