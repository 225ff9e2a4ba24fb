/** The version of this package, of which what it writes tells, and that of Node. Stands beside errors.ts, below all rooms. */
import fs from 'node:fs';
import { MachineError } from './errors.js';

interface Manifest {
  readonly version: string;
  readonly engines: { readonly node: string };
}

const manifest = (): Manifest =>
  JSON.parse(fs.readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as Manifest;

export const packageVersion = (): string => manifest().version;

/** The oldest Node that the package is for. */
export const leastNode = (): string => manifest().engines.node.replace(/^\D*/, '');

/** By the numbers of two versions. */
export function older(version: string, least: string): boolean {
  const parts = (text: string) => text.split(/[.-]/).map((part) => Number.parseInt(part, 10) || 0);
  const [a, b] = [parts(version), parts(least)];
  for (let i = 0; i < 3; i++) if ((a[i] ?? 0) !== (b[i] ?? 0)) return (a[i] ?? 0) < (b[i] ?? 0);
  return false;
}

/** @throws MachineError on a Node that is too old, where something would soon be missing. */
export function requireNode(version: string = process.versions.node): void {
  const least = leastNode();
  if (older(version, least))
    throw new MachineError(
      `Node ${version} is too old: ${least} or newer is needed; \`dawntune doctor\` says how to install one`,
    );
}
