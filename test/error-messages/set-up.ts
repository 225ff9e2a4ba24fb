/**
 * Drivers and launchers that are fetched or lie in the cache: a cache of the row's own, damaged in one thing, and packages
 * that tools of the row's own give; most are for Linux alone.
 */
import fs from 'node:fs';
import { createRequire } from 'node:module';
import { requirePrivateFolders } from '../../src/gpu/driver-cache.js';
import { forgetVulkan } from '../../src/gpu/software-driver.js';
import { loadMpi } from '../../src/ranks/mpi/library.js';
import { fetchDriver, removeDriver } from '../../src/setup/driver-download.js';
import { fetchDriverRoot, writeNodeWrapper } from '../../src/setup/driver-root.js';
import { fetchMpi } from '../../src/setup/mpi.js';
import type { RefusedCalls, RefusedUse, Stage } from './call.js';
import { all, being, failing, leading } from './faults.js';

const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi').default;
const systems = ['linux'] as const;
/** A shared object without segments. */
const LIBRARY = (() => {
  const bytes = Buffer.alloc(64);
  bytes.write('\x7fELF\x02\x01', 'latin1');
  bytes.writeUInt16LE(56, 54);
  return bytes;
})();

// ---- drivers of the cache, as the commands find them

const folder = `cache/vulkan/lavapipe-${process.arch}`;
const manifest = { format: 1, name: 'lavapipe', version: 'x', icd: 'icd.json', libraries: ['lib/a.so'] };
const icd = { ICD: { library_path: './lib/a.so' } };
/** A command for which a driver is looked for anew, in a cache that holds this one. */
const cached = (
  problem: string,
  changes: object,
  icdChanges: object = icd,
  library: Uint8Array = LIBRARY,
) => ({
  words: '--model_name_or_path MODEL --output out.jsonl a.txt',
  files: {
    'a.txt': 'x\n',
    [`${folder}/manifest.json`]: JSON.stringify({ ...manifest, ...changes }),
    [`${folder}/icd.json`]: JSON.stringify(icdChanges),
    [`${folder}/lib/a.so`]: library,
  },
  env: { DAWNTUNE_CACHE: 'cache', DAWNTUNE_SOFTWARE: 'lavapipe' },
  before: (): Stage => {
    forgetVulkan();
    return { end: forgetVulkan };
  },
  line: `DAWNTUNE_SOFTWARE asks for lavapipe: lavapipe in the cache is not used (./${folder}${problem}); run \`npx dawntune setup --driver lavapipe\``,
  status: 1,
  systems,
});
const withoutEnd = (() => {
  // One segment, of a hundred bytes.
  const bytes = Buffer.concat([LIBRARY, Buffer.alloc(56)]);
  bytes.writeBigUInt64LE(64n, 32);
  bytes.writeUInt16LE(1, 56);
  bytes.writeUInt32LE(1, 64);
  bytes.writeBigUInt64LE(1000n, 96);
  return bytes;
})();

export const setUp: RefusedCalls = {
  setup: [
    {
      words: '--system',
      before: () => being(process, 'getuid', () => 1000),
      line: 'setup --system: needs root; run it with sudo',
      systems,
    },
  ],
  encode: [
    cached("/manifest.json: the manifest's format: expected 1, found 2", { format: 2 }),
    cached(': expected a driver called lavapipe, found swiftshader', { name: 'swiftshader' }),
    cached('/icd.json: expected 1 bytes as it was installed, found 37', {
      files: Object.fromEntries(
        ['icd.json', 'lib/a.so'].map((file) => [file, { bytes: 1, sha256: '0'.repeat(64) }]),
      ),
    }),
    cached(
      '/icd.json: ICD.library_path: expected one of ./lib/a.so, found "/a.so"',
      {},
      { ICD: { library_path: '/a.so' } },
    ),
    cached('/lib/a.so: expected a 64-bit shared object', {}, icd, Buffer.from('x')),
    cached('/lib/a.so: expected a whole library of at least 1000 bytes, found 120', {}, icd, withoutEnd),
  ],
};

// ---- what is fetched

/** A tool that prints and does so. */
const tool = (body: string) => `#!/bin/sh\n${body}\n`;
/** apt and dpkg of a Debian whose packages hold the files in `tree`. */
const tools = (packages: string) => ({
  'bin/apt-config': tool(''),
  'bin/apt-cache': tool(`echo ${packages}`),
  'bin/apt-get': tool(`case "$1" in
install) echo "'http://x/x.deb' ${packages}_1_all.deb 1 x" ;;
download) : > x.deb ;;
esac`),
  'bin/dpkg-deb': tool('mkdir -p "$3" && cp -r tree/. "$3"'),
  release: 'ID=debian\nVERSION_CODENAME=x\n',
  sources: 'deb http://x x main\n',
});
const debian = (): Stage => {
  for (const name of fs.readdirSync('bin')) fs.chmodSync(`bin/${name}`, 0o755);
  return all(
    { names: { BIN: fs.realpathSync('bin') } },
    leading({
      '/etc/os-release': 'release',
      '/etc/apt/sources.list': 'sources',
      '/etc/apt/sources.list.d': 'none',
    }),
  );
};
const fetched = (
  what: string,
  use: () => unknown,
  packages: string,
  tree: readonly string[],
  line: string,
  more: Record<string, string> = {},
): RefusedUse => ({
  what,
  use,
  files: {
    tree: null,
    ...tools(packages),
    ...Object.fromEntries(tree.map((file) => [`tree/usr/lib/${file}`, LIBRARY])),
    ...more,
  },
  env: { DAWNTUNE_CACHE: 'cache', PATH: 'BIN:/usr/bin:/bin' },
  before: debian,
  line,
  status: 1,
  systems,
});

const C_LIBRARY = [
  'x/libc.so.6',
  'x/libvulkan_lvp.so',
  'x/libvulkan.so.1',
  'x/libstdc++.so.6',
  'x/libgcc_s.so.1',
];

export const refusedSetUps: readonly RefusedUse[] = [
  {
    what: 'requirePrivateFolders where the system does not answer',
    env: { DAWNTUNE_CACHE: 'cache' },
    before: () => failing('statSync', /cache$/, 'EIO'),
    use: () => requirePrivateFolders(),
    line: './cache: cannot read: the disk reports an error',
  },
  {
    what: 'removeDriver where there can be no folder',
    files: { cache: 'x' },
    env: { DAWNTUNE_CACHE: 'cache' },
    use: () => removeDriver('lavapipe', undefined),
    line: `./${folder}: cannot be removed: a part of the path is not a folder`,
    status: 1,
  },
  {
    what: 'fetchDriver of SwiftShader for another processor',
    env: { DAWNTUNE_CACHE: 'cache' },
    before: () => being(process, 'arch', 'arm'),
    use: () => fetchDriver('swiftshader', false),
    line: 'SwiftShader: no package for arm',
    status: 1,
  },
  {
    what: 'fetchDriver of SwiftShader from another package',
    files: {
      'npm.js': `const { execFileSync } = require('node:child_process');
        const fs = require('node:fs');
        const folder = process.argv[process.argv.indexOf('--pack-destination') + 1];
        fs.mkdirSync('package/bin', { recursive: true });
        fs.writeFileSync('package/bin/swiftshader.tar.br', 'x');
        execFileSync('tar', ['-czf', folder + '/x.tgz', 'package']);`,
    },
    env: { DAWNTUNE_CACHE: 'cache', npm_execpath: 'npm.js' },
    before: () => being(process, 'arch', 'x64'),
    use: () => fetchDriver('swiftshader', false),
    line: '@sparticuz/chromium@147.0.0: unexpected contents (SHA-256 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881)',
    status: 1,
    systems,
  },
  fetched(
    'fetchDriver of lavapipe without its description',
    () => fetchDriver('lavapipe', false),
    'mesa-vulkan-drivers',
    ['x/libvulkan_lvp.so', 'x/libvulkan.so.1'],
    'mesa-vulkan-drivers 1: has no driver description for libvulkan_lvp.so',
  ),
  {
    what: 'fetchDriverRoot on another system',
    before: () => being(process, 'platform', 'sunos'),
    use: () => fetchDriverRoot(),
    line: "Debian sid's Mesa: needs Linux, and this is sunos",
    status: 1,
  },
  fetched(
    'fetchDriverRoot without a driver',
    () => fetchDriverRoot(),
    'mesa-vulkan-drivers',
    ['x/libc.so.6'],
    'Debian sid: no package has libvulkan_lvp.so',
  ),
  fetched(
    'fetchDriverRoot without a dynamic linker',
    () => fetchDriverRoot(),
    'mesa-vulkan-drivers',
    C_LIBRARY,
    'Debian sid: no package has the dynamic linker of its C library',
  ),
  fetched(
    'fetchDriverRoot without a description',
    () => fetchDriverRoot(),
    'mesa-vulkan-drivers',
    [...C_LIBRARY, 'x/ld-linux-x86-64.so.2'],
    'Debian sid: no driver description for libvulkan_lvp.so',
  ),
  {
    what: 'an MPI that is built for one thread',
    before: () => being(koffi, 'load', () => ({ func: () => () => 0, symbol: () => undefined }) as never),
    use: () => loadMpi(['mpich'], { DAWNTUNE_MPI_LIBRARY: 'libmpi.so' }).init(),
    line: 'libmpi.so: gives thread level 0, and MPI_THREAD_FUNNELED is needed',
    status: 1,
  },
  {
    what: 'writeNodeWrapper of a folder that is not whole',
    files: { root: null },
    use: () => writeNodeWrapper({ folder: 'root', suite: 'sid', packages: [] }),
    line: 'root: has no dynamic linker',
  },
  fetched(
    'fetchMpi without a launcher',
    () => fetchMpi('Open MPI'),
    'openmpi-bin',
    ['x/libmpi.so.40'],
    'openmpi-bin: no package has orterun',
  ),
  fetched(
    'fetchMpi of packages that are not listed',
    () => fetchMpi('Open MPI'),
    'other',
    ['x/libmpi.so.40'],
    `./cache/mpi/openmpi-${process.arch}: is not complete`,
    { 'tree/usr/bin/orterun': 'x' },
  ),
];
