/** The flags of `dawntune setup`, and of the tests that run on a driver of their own. */

import { parseToldFlags } from '../console/told-flags.js';
import {
  boolean,
  choice,
  debugFlag,
  type FlagValues,
  group,
  listOf,
  optional,
  progressFlag,
  text,
  withDefault,
} from '../flags.js';
import type { SoftwareDriverName } from '../gpu/driver-cache.js';

export const softwareDrivers = ['lavapipe', 'swiftshader'] as const satisfies readonly SoftwareDriverName[];

export const setupFlags = {
  ...group('Setup', {
    system: withDefault(boolean, false, 'install lavapipe for the whole machine with apt, as root'),
    driver: optional(choice(softwareDrivers), 'put this driver into the cache folder and no other'),
  }),
  ...progressFlag,
  ...debugFlag,
};

/** Of `npm run test:matrix`, which downloads a driver as set-up does. */
export const matrixFlags = group('Matrix', {
  update: withDefault(boolean, false, 'download the current packages even where a driver is in the cache'),
});

/** Of `npm run test:mpi`, which unpacks MPI where the machine has none. */
export const mpiTestFlags = group('MPI', {
  only: optional(text('the name of a file'), 'the tests of this file of test/mpi alone'),
});

/** Of `npm run test:long`. */
export const longTestFlags = group('Long tests', {
  only: optional(text('the name of a file'), 'the tests of this file of test/long alone'),
});

/** Of `npm run smoke`. */
export const smokeFlags = group('Smoke test', {
  project: optional(
    text('a folder'),
    'a project with dawntune and openai installed; by default the package is packed and installed with npm',
  ),
  nodes: withDefault(listOf(text(), 'paths of node'), [], 'other versions of Node that run all of it too'),
});

export type SetupArguments = FlagValues<typeof setupFlags>;

/** @throws InputError, one line that names the flag. */
export function parseSetupArguments(argv: readonly string[]): SetupArguments {
  return parseToldFlags(setupFlags, argv).values;
}
