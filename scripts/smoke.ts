/**
 * `npm run smoke`: packs the package, installs it with npm in an empty project, and does there what a user does first.
 * `--project FOLDER` takes a project in which it is installed already, with the client `openai`; `--nodes` runs all of
 * it with other versions of Node too.
 */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { InputError } from '../src/errors.js';
import { readJsonObject } from '../src/files/json.js';
import { renderHelp, usageLine, wantsHelp } from '../src/flag-help.js';
import { parseFlags } from '../src/flags.js';
import { smokeFlags } from '../src/setup/arguments.js';
import { messageLine } from '../src/show.js';
import { npmCli, smoke } from './smoke-steps.js';

const repository = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..');
const say = (line: string) => void process.stdout.write(`smoke: ${line}\n`);

/** Packs and installs into an empty project in `folder`, which needs the registry of npm. */
function install(folder: string): string {
  const project = path.join(folder, 'project');
  fs.mkdirSync(project);
  fs.writeFileSync(path.join(project, 'package.json'), '{ "private": true, "type": "module" }\n');
  const manifest = readJsonObject(path.join(repository, 'package.json'));
  const { openai } = manifest['devDependencies'] as Record<string, string>;
  const npm = (cwd: string, ...words: string[]) =>
    execFileSync(process.execPath, [npmCli('npm'), ...words], {
      cwd,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
  say('npm pack');
  npm(repository, 'pack', '--pack-destination', folder);
  say('npm install');
  npm(project, 'install', path.join(folder, `dawntune-${manifest['version']}.tgz`), `openai@${openai}`);
  return project;
}

async function main(argv: readonly string[]): Promise<number> {
  if (wantsHelp(argv)) {
    const usage = usageLine('npm run smoke --', smokeFlags);
    process.stdout.write(renderHelp(`${usage}\n\nThe packed package, as a user has it`, smokeFlags));
    return 0;
  }
  const { project, nodes } = parseFlags(smokeFlags, argv).values;
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-smoke-'));
  try {
    const at = project ?? install(folder);
    for (const node of [process.execPath, ...nodes]) await smoke(path.resolve(at), node, say);
    return 0;
  } finally {
    fs.rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const known = error instanceof InputError;
  process.stderr.write(`smoke: ${known ? messageLine(error.message) : String((error as Error).stack)}\n`);
  process.exitCode = known ? error.exitCode : 1;
}
