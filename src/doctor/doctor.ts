/**
 * `dawntune doctor`: what this machine offers, whether it computes, what training takes here, and what to do where
 * something is wrong. Facts first (system.ts, and probes in processes of their own), then the problems in them
 * (problems.ts), then a page or JSON. Loads no native code itself, so that it still answers where Dawn does not load.
 */
import path from 'node:path';
import { cacheFolder } from '../gpu/driver-cache.js';
import { hubSettings } from '../hub/settings.js';
import { leastNode, packageVersion } from '../version.js';
import type { DoctorArguments } from './arguments.js';
import { attempt, probeInChild } from './children.js';
import type {
  AdaptersFacts,
  CheckedKernel,
  ChosenFacts,
  DawnFacts,
  Facts,
  FitFacts,
  GraphicsFacts,
  MpiFacts,
  Probed,
} from './facts.js';
import { CACHED, crashed, foundOf } from './facts.js';
import { canTrain, problemsOf } from './problems.js';
import type { Problem } from './rules/rule.js';
import {
  dawnPackage,
  folderFacts,
  graphicsFacts,
  memoryFacts,
  processorFacts,
  systemFacts,
} from './system.js';

/** What `--json` prints. The number changes when something that is there is renamed, removed or means something else. */
export interface DoctorReport {
  readonly schema: 1;
  /** Version of this package. */
  readonly dawntune: string;
  /** A run can begin here: the exit code is 0. */
  readonly trains: boolean;
  readonly facts: Facts;
  readonly problems: readonly Problem[];
}

/** What takes its time, in order. */
const PROBES = [
  'Dawn and adapters',
  'the adapter that runs take',
  'kernels',
  'MPI',
  'what bge-m3 takes',
] as const;

/**
 * Looks at this machine. Probes follow one another, so that none disturbs what another measures.
 * @throws InputError for an adapter that is not there.
 */
export async function examine(
  { adapter: wanted }: Pick<DoctorArguments, 'adapter'>,
  /** Is told how many probes are behind, of how many, and what is looked at next. */
  tell: (done: number, of: number, what: string) => void = () => {},
): Promise<DoctorReport> {
  const version = packageVersion();
  let begun = 0;
  const next = (what: (typeof PROBES)[number]) => tell(begun++, PROBES.length, what);
  next('Dawn and adapters');
  const dawn = await dawnFacts();
  const loads = foundOf(dawn)?.problem === null && foundOf(dawn)?.binary !== null;
  const graphics = await attempt(graphicsFacts);
  const skipped = (why: string) => ({ failed: why });
  const adapters: Probed<AdaptersFacts> = loads
    ? await probeInChild('adapters', null)
    : skipped('Dawn does not load');
  const listed = foundOf(adapters)?.adapters ?? [];
  next('the adapter that runs take');
  const chosen: Probed<ChosenFacts> =
    listed.length > 0
      ? await probeInChild('chosen', { wanted }, { throwsInput: true })
      : skipped('there is no adapter');
  const opened = foundOf(chosen);
  next('kernels');
  const kernels: Probed<readonly CheckedKernel[]> = opened
    ? await probeInChild<readonly CheckedKernel[]>('kernels', { wanted }, { seconds: 120 })
    : skipped('no adapter was opened');
  const crashing = crashed(adapters) ? await crashingDrivers(foundOf(graphics)) : [];
  next('MPI');
  const mpi = await probeInChild<MpiFacts>('mpi', null);
  next('what bge-m3 takes');
  const facts: Facts = {
    node: { version: process.versions.node, least: leastNode() },
    system: await attempt(systemFacts),
    processor: await attempt(processorFacts),
    memory: await attempt(memoryFacts),
    folders: await attempt(() => ({
      cache: folderFacts(cacheFolder()),
      models: folderFacts(hubSettings().cache),
    })),
    graphics,
    dawn,
    adapters,
    crashing,
    chosen,
    kernels,
    mpi,
    fit: loads
      ? await probeInChild<FitFacts>('fit', {
          wanted,
          adapter: opened !== undefined,
          memory: opened?.memory ?? null,
        })
      : skipped('Dawn does not load'),
  };
  const problems = problemsOf(facts);
  return { schema: 1, dawntune: version, trains: canTrain(problems), facts, problems };
}

async function dawnFacts(): Promise<Probed<DawnFacts>> {
  const found = await attempt(dawnPackage);
  if ('failed' in found) return found;
  const { version, binary } = found.found;
  if (binary === null) return { found: { version, binary, problem: null } };
  const loaded = await probeInChild<boolean>('dawn', null);
  return { found: { version, binary, problem: 'failed' in loaded ? loaded.failed : null } };
}

/** Which drivers crash: each that this process would load is looked at alone. */
async function crashingDrivers(graphics: GraphicsFacts | undefined): Promise<string[]> {
  const { drivers = [], variables = {} } = graphics ?? {};
  const chosen = variables['VK_DRIVER_FILES'] ?? variables['VK_ICD_FILENAMES'];
  const files = chosen === undefined ? drivers : chosen.split(path.delimiter);
  const crashes = async (env: NodeJS.ProcessEnv) =>
    crashed(await probeInChild('adapters', null, { env: { ...process.env, ...env } }));
  const crashing: string[] = [];
  // One that is not in the cache is refused, which is no crash.
  for (const name of ['lavapipe', 'swiftshader'])
    if (crashing.length === 0 && (await crashes({ DAWNTUNE_SOFTWARE: name }))) crashing.push(CACHED);
  // Else the cache is only there for its loader, which the system may lack.
  const software = crashing.length > 0 ? { DAWNTUNE_SOFTWARE: 'none' } : { DAWNTUNE_SOFTWARE: '' };
  for (const file of files)
    if (await crashes({ VK_DRIVER_FILES: file, VK_ICD_FILENAMES: file, ...software })) crashing.push(file);
  return crashing;
}
