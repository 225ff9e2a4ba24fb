/** Dawn as browsers show it, for libraries that look for `navigator.gpu`. */
import { createRequire } from 'node:module';
import path from 'node:path';
import { readJsonObject } from '../../src/files/json.js';
import { withoutChatter } from '../../src/gpu/dawn.js';
import { prepareVulkan } from '../../src/gpu/software-driver.js';

interface DawnModule {
  create(options: string[]): GPU;
  globals: Record<string, unknown>;
}

/** Libraries take whatever adapter they ask for; a name leaves them no other. Returns the adapter's own name. */
export async function provideNavigator(adapter: string | null): Promise<string> {
  prepareVulkan();
  const { create, globals } = (await import('webgpu')) as unknown as DawnModule;
  Object.assign(globalThis, globals);
  const gpu = create(adapter ? [`adapter=${adapter}`] : []);
  const quiet: GPU = Object.create(gpu, {
    requestAdapter: {
      value: (options?: GPURequestAdapterOptions) =>
        withoutChatter(() => gpu.requestAdapter({ powerPreference: 'high-performance', ...options })),
    },
    getPreferredCanvasFormat: { value: () => 'bgra8unorm' },
  });
  // Dawn crashes where the object that it made is collected.
  Object.defineProperty(globalThis, 'navigator', {
    value: { gpu: quiet, userAgent: 'node', dawn: gpu },
    configurable: true,
  });
  const found = await quiet.requestAdapter();
  if (!found) throw new Error('no adapter');
  return found.info.device || found.info.description;
}

/** A package in the folder that the peers are installed in. */
export function peerRequire(folder: string): NodeJS.Require {
  return createRequire(path.join(folder, 'package.json'));
}

export function versionOf(folder: string, name: string): string {
  return String(readJsonObject(path.join(folder, 'node_modules', name, 'package.json'))['version']);
}
