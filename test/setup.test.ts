import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { listAdapters, parseAdapterList } from '../src/gpu/adapter-list.js';
import {
  cacheFolder,
  driverFolder,
  prepareVulkan,
  readManifest,
  requestedSoftware,
} from '../src/gpu/software-driver.js';
import { libraryError } from '../src/native-library.js';
import {
  machineSettings,
  parseDependencies,
  parseOsRelease,
  parsePrintUris,
  privateSources,
  suiteSources,
} from '../src/setup/apt.js';
import { choosePackages, dependencyOrder, patchIcd, readNeeded } from '../src/setup/driver-download.js';
import { cachedDriver, setupProgram } from './cached-driver.js';

const adapterModule = new URL('../src/gpu/adapter-list.js', import.meta.url).href;
const driverModule = new URL('../src/gpu/software-driver.js', import.meta.url).href;
const mainProgram = new URL('../src/cli/main.js', import.meta.url).pathname;

describe('private apt sources', () => {
  const debian = {
    name: '/etc/apt/sources.list.d/debian.sources',
    text: `Types: deb deb-src
# a remark
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc

Types: deb
URIs: http://mirror.example/security
Suites: bookworm-security
Components: main
Enabled: no
`,
  };

  test('deb822: backports are added where the release comes from, with its key; disabled entries are left out', () => {
    assert.equal(
      privateSources([debian], 'bookworm', 'bookworm-backports'),
      `Types: deb
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main
signed-by: 
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
`,
    );
  });

  test('one-line style: options are kept, other releases, third parties and source packages left out', () => {
    const list = {
      name: '/etc/apt/sources.list',
      text: `# deb http://mirror.example/old bookworm main
deb [signed-by=/k.gpg arch=amd64,arm64] http://mirror.example/debian bookworm main non-free # mine
deb-src http://mirror.example/debian bookworm main
deb http://vendor.example/apt stable main
deb http://mirror.example/debian bookworm-backports main
`,
    };
    assert.equal(
      privateSources(
        [list, { name: 'x.list.disabled', text: 'deb http://no bookworm main' }],
        'bookworm',
        'bookworm-backports',
      ),
      `Types: deb
URIs: http://mirror.example/debian
Suites: bookworm
Components: main
signed-by: /k.gpg
architectures: amd64 arm64

Types: deb
URIs: http://mirror.example/debian
Suites: bookworm-backports
Components: main
`,
    );
  });

  test('another suite comes from where the release itself does, with its key, and nothing besides', () => {
    const security = 'deb http://mirror.example/security bookworm-security main\n';
    assert.equal(
      suiteSources([debian, { name: 'security.list', text: security }], 'bookworm', 'sid'),
      `Types: deb
URIs: http://mirror.example/debian
Suites: sid
Components: main
signed-by: 
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
`,
    );
  });

  test('a machine without a source of its own release says so', () => {
    assert.throws(
      () => privateSources([debian], 'noble'),
      /no source of the release "noble" among 1 source files/,
    );
  });

  test('os-release values with and without quotes', () => {
    const release = parseOsRelease(
      'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    );
    assert.deepEqual([release['ID'], release['VERSION_ID']], ['debian', '12']);
  });

  test('of the machine settings only those that say how to reach the archive are kept', () => {
    const dump = `APT "";
APT::Architecture "amd64";
Acquire::http::Proxy "http://proxy:1";
Acquire::Languages:: "none";
Acquire::IndexTargets::deb::DEP-11::MetaKey "x";
DPkg::Pre-Install-Pkgs:: "/usr/sbin/dpkg-preconfigure";
APT::Update::Post-Invoke:: "rm -f x";
`;
    assert.deepEqual(machineSettings(dump), [
      'APT::Architecture "amd64";',
      'Acquire::http::Proxy "http://proxy:1";',
    ]);
  });
});

describe('choice of packages', () => {
  test('only what the driver depends on, never Python or the C library', () => {
    const wanted = parsePrintUris(`Reading package lists...
'http://m/libz3-4_4.8_amd64.deb' libz3-4_4.8_amd64.deb 7216172 SHA256:00
'http://m/libllvm15_15.0_amd64.deb' libllvm15_1%3a15.0.6-4_amd64.deb 23115156 SHA256:00
'http://m/egl.deb' libegl-mesa0_25.0.7_amd64.deb 127892 SHA256:00
'http://m/python.deb' python3_3.11_amd64.deb 26000 SHA256:00
'http://m/libpython.deb' libsqlite3-0_3.40_amd64.deb 26000 SHA256:00
'http://m/mesa.deb' mesa-vulkan-drivers_25.0.7-2%7ebpo12%2b1_amd64.deb 11366132 SHA256:00
`);
    const dependencies = parseDependencies(`mesa-vulkan-drivers
  Depends: <python3:any>
    python3
  Depends: libllvm15
 |Depends: libc6
  PreDepends: zlib1g
libllvm15
  Depends: libz3-4
python3
  Depends: libsqlite3-0
`);
    assert.deepEqual(dependencies.get('mesa-vulkan-drivers'), [
      'python3',
      'python3',
      'libllvm15',
      'libc6',
      'zlib1g',
    ]);
    assert.deepEqual(choosePackages(wanted, dependencies, ['mesa-vulkan-drivers']), [
      { name: 'libz3-4', version: '4.8' },
      { name: 'libllvm15', version: '1:15.0.6-4' },
      { name: 'mesa-vulkan-drivers', version: '25.0.7-2~bpo12+1' },
    ]);
  });

  test('libraries come after those they need; circles end', () => {
    const needs: Record<string, string[]> = {
      driver: ['llvm', 'drm'],
      llvm: ['z3', 'llvm'],
      z3: ['drm'],
      drm: ['z3'],
    };
    assert.deepEqual(
      dependencyOrder(['driver', 'loader'], (name) => needs[name] ?? []),
      ['drm', 'z3', 'llvm', 'driver', 'loader'],
    );
  });

  test('needed libraries are read from a real shared object', { skip: process.platform !== 'linux' }, () => {
    const addon = process.report.getReport() as unknown as { sharedObjects: string[] };
    const file = addon.sharedObjects.find((name) => /libstdc\+\+\.so/.test(name));
    assert.ok(file, 'Node runs with a shared C++ library');
    const needed = readNeeded(readFileSync(file));
    assert.ok(needed.includes('libc.so.6') && needed.includes('libm.so.6'), needed.join(' '));
    assert.throws(() => readNeeded(Buffer.alloc(64)), /not a 64-bit little-endian shared object/);
  });

  test('the driver description gets another library path and keeps the rest', () => {
    const patched = JSON.parse(
      patchIcd(
        '{"ICD":{"api_version":"1.4.305","library_path":"/usr/lib/a.so"},"file_format_version":"1.0.0"}',
        './lib/a.so',
      ),
    ) as unknown;
    assert.deepEqual(patched, {
      ICD: { api_version: '1.4.305', library_path: './lib/a.so' },
      file_format_version: '1.0.0',
    });
  });
});

describe('runtime', () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(path.join(os.tmpdir(), 'dawntune-setup-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  /** The environment of a machine without any Vulkan driver. */
  const bare = (): NodeJS.ProcessEnv => {
    const { VK_ADD_DRIVER_FILES: _, DAWNTUNE_SOFTWARE: __, ...env } = process.env;
    return { ...env, VK_DRIVER_FILES: '/nonexistent.json', DAWNTUNE_CACHE: path.join(folder, 'empty') };
  };

  test('the cache folder follows DAWNTUNE_CACHE, then XDG_CACHE_HOME, then the home folder', () => {
    assert.equal(cacheFolder({ DAWNTUNE_CACHE: '/a', XDG_CACHE_HOME: '/b' }), '/a');
    assert.equal(cacheFolder({ XDG_CACHE_HOME: '/b' }), '/b/dawntune');
    assert.equal(cacheFolder({}), path.join(os.homedir(), '.cache/dawntune'));
  });

  test('a user without a home folder is told to name a cache folder', (context) => {
    context.mock.method(os, 'homedir', () => {
      throw new Error('uv_os_homedir returned ENOENT');
    });
    assert.equal(cacheFolder({ DAWNTUNE_CACHE: '/a' }), '/a');
    assert.throws(() => cacheFolder({}), { name: 'InputError', message: /DAWNTUNE_CACHE: .* or HOME/ });
  });

  test('DAWNTUNE_SOFTWARE takes three names', () => {
    assert.equal(requestedSoftware({}), undefined);
    assert.equal(requestedSoftware({ DAWNTUNE_SOFTWARE: 'lavapipe' }), 'lavapipe');
    assert.throws(
      () => requestedSoftware({ DAWNTUNE_SOFTWARE: 'lvp' }),
      /expected lavapipe, swiftshader or none, found "lvp"/,
    );
  });

  test('a driver folder with a missing file does not count', () => {
    const driver = path.join(folder, 'driver');
    mkdirSync(driver);
    const manifest = { format: 1, name: 'lavapipe', version: 'v', icd: 'icd.json', libraries: ['a.so'] };
    writeFileSync(path.join(driver, 'manifest.json'), JSON.stringify(manifest));
    writeFileSync(path.join(driver, 'icd.json'), '{}');
    assert.equal(readManifest(driver), undefined);
    writeFileSync(path.join(driver, 'a.so'), '');
    assert.deepEqual(readManifest(driver), manifest);
    writeFileSync(path.join(driver, 'manifest.json'), '{"format": 1, "na');
    assert.equal(readManifest(driver), undefined);
  });

  test("adapters are read from Dawn's error message, twins included", () => {
    const message = `no adapter matches\n * backend: 'vulkan', name: 'NVIDIA H100'\n * backend: 'vulkan', name: 'NVIDIA H100'\nend`;
    const twin = { backend: 'vulkan', name: 'NVIDIA H100' };
    assert.deepEqual(parseAdapterList(message), [twin, twin]);
    const drivers = ['SwiftShader Device (Subzero)', 'llvmpipe (LLVM 15.0.6, 256 bits)', 'Virtio-GPU Venus'];
    const listed = parseAdapterList(
      drivers.map((name) => ` * backend: 'vulkan', name: '${name}'`).join('\n'),
    );
    assert.deepEqual(
      listed.map(({ name }) => name),
      [drivers[1], drivers[2], drivers[0]],
    );
  });

  test('without an adapter the error says what was looked for and what to do', {
    skip: process.platform !== 'linux',
  }, () => {
    const script = `
      const { listAdapters } = await import(${JSON.stringify(adapterModule)});
      const { noAdapterError } = await import(${JSON.stringify(driverModule)});
      console.log(JSON.stringify({ adapters: await listAdapters(), name: noAdapterError().name, message: noAdapterError().message }));`;
    const result = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      env: bare(),
      encoding: 'utf8',
    });
    assert.equal(result.status, 0, result.stderr);
    assert.equal(result.stderr, '', 'Dawn keeps quiet');
    const { adapters, name, message } = JSON.parse(result.stdout) as {
      adapters: [];
      name: string;
      message: string;
    };
    assert.deepEqual(adapters, []);
    assert.equal(name, 'MachineError');
    assert.match(
      message,
      /^no WebGPU adapter found \(.*(libvulkan\.so\.1|VK_DRIVER_FILES=\/nonexistent\.json).*\); unset VK_DRIVER_FILES or correct it$/,
    );
  });

  test('a cached driver that DAWNTUNE_SOFTWARE hides is said to be there', async (context) => {
    if (cachedDriver === undefined) return context.skip('no cached driver');
    const script = `
      const { prepareVulkan, noAdapterError } = await import(${JSON.stringify(driverModule)});
      console.log(prepareVulkan().description + '|' + noAdapterError().message);`;
    const result = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      env: { ...process.env, DAWNTUNE_SOFTWARE: 'none' },
      encoding: 'utf8',
    });
    const [description, message] = result.stdout.trim().split('|');
    assert.match(description!, new RegExp(`${cachedDriver} in .*vulkan hidden by DAWNTUNE_SOFTWARE=none`));
    assert.match(message!, /; install a GPU driver, or unset DAWNTUNE_SOFTWARE$/);
  });

  test('setup refuses with one line when drivers were chosen by hand, and on unknown flags', {
    skip: process.platform !== 'linux',
  }, () => {
    const chosen = spawnSync(process.execPath, [setupProgram], { env: bare(), encoding: 'utf8' });
    assert.equal(chosen.status, 1);
    assert.match(chosen.stderr, /^dawntune: no WebGPU adapter found .*\n$/);
    const flag = spawnSync(process.execPath, [setupProgram, '--sytem'], { env: bare(), encoding: 'utf8' });
    assert.equal(flag.status, 2);
    assert.equal(flag.stderr, 'dawntune: unknown flag --sytem; the nearest is --system\n');
  });

  test('a library that does not load here is told in a line, and no driver is downloaded for it', () => {
    // As on another C library, or on an older one than it was built for.
    const broken = path.join(folder, 'broken.node');
    writeFileSync(broken, 'none');
    const loads = (library: string, ...words: string[]) => {
      const script = `const { dlopen } = process;
        process.dlopen = (module, file, ...flags) =>
          dlopen(module, file.includes('${library}') ? ${JSON.stringify(broken)} : file, ...flags);`;
      const { status, stderr, stdout } = spawnSync(
        process.execPath,
        ['--import', `data:text/javascript,${encodeURIComponent(script)}`, ...words],
        { env: bare(), encoding: 'utf8' },
      );
      assert.deepEqual([status, stdout], [1, '']);
      assert.match(
        stderr,
        /^dawntune: a library of the packages does not load on this system: [^\n]*broken\.node[^\n]*; `dawntune doctor` says what mends it\n$/,
      );
    };
    loads('dawn.node', setupProgram, '--driver', 'lavapipe');
    loads('koffi', setupProgram);
    loads('dawn.node', mainProgram, 'encode', 'none.txt');
    assert.equal(existsSync(path.join(folder, 'empty')), false);
    const missing = Object.assign(new Error("Cannot find module '/a/webgpu/dist/freebsd-x64/dawn.node'"), {
      code: 'MODULE_NOT_FOUND',
    });
    assert.match(libraryError(missing)!.message, /^a library of the packages .*dawn\.node'; `dawntune/);
    assert.equal(libraryError(new Error("Cannot find module 'left-pad'")), null);
  });

  test('setup does nothing where an adapter exists, and says so to who asked for it alone', async (context) => {
    if ((await listAdapters()).length === 0) return context.skip('no adapter');
    const result = spawnSync(process.execPath, [setupProgram], { encoding: 'utf8' });
    assert.deepEqual([result.status, result.stdout, result.stderr], [0, '', '']);
    const asked = spawnSync(process.execPath, [mainProgram, 'setup'], { encoding: 'utf8' });
    assert.deepEqual([asked.status, asked.stdout], [0, '']);
    assert.match(asked.stderr, /^dawntune setup: nothing to do: adapter [^\n]+\n$/);
  });

  test('a cached driver is used with its own Vulkan loader, in the running process', async (context) => {
    const { driver } = prepareVulkan();
    if (driver === 'system') return context.skip('this machine needs no cached driver');
    const adapters = await listAdapters();
    assert.ok(adapters.some(({ name }) => /llvmpipe|SwiftShader/.test(name)));
    const loaders = readFileSync('/proc/self/maps', 'utf8').match(/\/\S*libvulkan\.so\S*/g);
    assert.deepEqual([...new Set(loaders)], [path.join(driverFolder(driver), 'lib/libvulkan.so.1')]);
    if (!requestedSoftware())
      assert.equal(
        process.env['VK_ADD_DRIVER_FILES']?.split(':').at(-1),
        path.join(driverFolder(driver), 'icd.json'),
      );
  });
});
