/** The flags of `dawntune doctor`. */
import { adapterFlag, debugFlag, type FlagValues, parseFlags } from '../flags.js';

export const doctorFlags = { ...adapterFlag, ...debugFlag };

export type DoctorArguments = FlagValues<typeof doctorFlags>;

/** @throws InputError, one line that names the flag. */
export function parseDoctorArguments(argv: readonly string[]): DoctorArguments {
  return parseFlags(doctorFlags, argv).values;
}
