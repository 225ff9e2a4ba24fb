/** What a report says of where its figures come from. */
import { createRequire } from 'node:module';
import os from 'node:os';
import { fileURLToPath } from 'node:url';
import { readJsonObject } from '../../src/files/json.js';
import type { Gpu } from '../../src/gpu/gpu.js';

export interface Machine {
  readonly adapter: string;
  readonly driver: string;
  /** The adapter computes on the CPU. */
  readonly software: boolean;
  readonly cpu: string;
  readonly cores: number;
  /** ISO 8601, with the time. */
  readonly date: string;
  readonly versions: { readonly dawntune: string; readonly webgpu: string; readonly node: string };
}

const packageFile = fileURLToPath(new URL('../../../package.json', import.meta.url));

export function machineOf({ capabilities }: Gpu): Machine {
  const { name, driver, software } = capabilities;
  const webgpu = createRequire(import.meta.url)('webgpu/package.json') as { version: string };
  return {
    adapter: name,
    driver,
    software,
    cpu: os.cpus()[0]?.model.trim() ?? 'unknown',
    cores: os.availableParallelism(),
    date: new Date().toISOString(),
    versions: {
      dawntune: String(readJsonObject(packageFile)['version']),
      webgpu: webgpu.version,
      node: process.versions.node,
    },
  };
}

/** For people, one line. */
export function machineLine({ adapter, driver, software, cpu, cores, date, versions }: Machine): string {
  const place = software ? 'software adapter: computes on the CPU' : driver;
  return `${adapter} (${software ? `${driver}; ` : ''}${place}) · ${cores} × ${cpu} · dawntune ${versions.dawntune}, webgpu ${versions.webgpu}, Node ${versions.node} · ${date.slice(0, 10)}`;
}
