/** Which adapters there are: Vulkan's structures, the list that joins Dawn's names with them, and doctor's lines. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import koffi from 'koffi';
import { adapterTaken, identityOf, joinAdapters, visibleAdapters } from '../src/gpu/adapter-list.js';
import { driverFolder, inspectDriver } from '../src/gpu/driver-cache.js';
import {
  type PhysicalDevice,
  pciText,
  physicalDevices,
  uuidText,
  vulkanStructures,
} from '../src/gpu/physical-devices.js';
import { isSoftwareName } from '../src/gpu/software-name.js';

const listModule = new URL('../src/gpu/adapter-list.js', import.meta.url).href;
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-adapters-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));

/** What a C compiler says of the headers of Vulkan 1.3.239 on x86-64: sizes, and where fields begin. */
const COMPILED: Record<string, { size: number; offsets: Record<string, number> }> = {
  applicationInfo: { size: 48, offsets: { pNext: 8, pApplicationName: 16, pEngineName: 32, apiVersion: 44 } },
  instanceCreateInfo: {
    size: 64,
    offsets: {
      pNext: 8,
      flags: 16,
      pApplicationInfo: 24,
      enabledLayerCount: 32,
      ppEnabledLayerNames: 40,
      enabledExtensionCount: 48,
      ppEnabledExtensionNames: 56,
    },
  },
  extensionProperties: { size: 260, offsets: { extensionName: 0, specVersion: 256 } },
  properties2: {
    size: 840,
    offsets: {
      pNext: 8,
      apiVersion: 16,
      vendorID: 24,
      deviceID: 28,
      deviceType: 32,
      deviceName: 36,
      pipelineCacheUUID: 292,
      limits: 312,
      sparseProperties: 816,
    },
  },
  idProperties: {
    size: 64,
    offsets: {
      pNext: 8,
      deviceUUID: 16,
      driverUUID: 32,
      deviceLUID: 48,
      deviceNodeMask: 56,
      deviceLUIDValid: 60,
    },
  },
  memoryProperties: { size: 520, offsets: { memoryTypes: 4, memoryHeapCount: 260, memoryHeaps: 264 } },
  pciBusInfo: { size: 32, offsets: { pNext: 8, pciDomain: 16, pciBus: 20, pciDevice: 24, pciFunction: 28 } },
};

test('structures for Vulkan lie in memory as a C compiler lays them out', () => {
  const structures = vulkanStructures();
  assert.deepEqual(Object.keys(structures).sort(), Object.keys(COMPILED).sort());
  for (const [name, type] of Object.entries(structures)) {
    const { size, offsets } = COMPILED[name]!;
    const found = Object.keys(offsets).map((field) => [field, koffi.offsetof(type, field)]);
    assert.deepEqual(
      { size: koffi.sizeof(type), offsets: Object.fromEntries(found) },
      { size, offsets },
      name,
    );
  }
});

test('UUIDs and PCI addresses are written as other programs write them', () => {
  assert.equal(
    uuidText(Uint8Array.from({ length: 16 }, (_, i) => i * 17)),
    '00112233-4455-6677-8899-aabbccddeeff',
  );
  assert.equal(uuidText(new Uint8Array(16)), undefined);
  const address = { pciDomain: 0, pciBus: 0xc1, pciDevice: 8, pciFunction: 0 };
  assert.equal(pciText(address), '0000:c1:08.0');
  assert.equal(pciText({ pciDomain: 0, pciBus: 0, pciDevice: 0, pciFunction: 0 }), undefined);
});

const device = (name: string, more: Partial<PhysicalDevice> = {}): PhysicalDevice => ({
  name,
  type: 'discrete',
  vendorId: 1,
  deviceId: 2,
  uuid: undefined,
  driverUuid: undefined,
  pci: undefined,
  memory: undefined,
  ...more,
});
const vulkan = (...names: string[]) => names.map((name) => ({ backend: 'vulkan', name }));

test('names that Dawn lists get what Vulkan says of their devices, and an index a name', () => {
  const adapters = joinAdapters(vulkan('H100', 'H100', 'Arc', 'llvmpipe'), [
    device('llvmpipe', { type: 'cpu' }),
    device('H100', { pci: '0000:17:00.0', uuid: 'a' }),
    device('Arc', { type: 'integrated' }),
    device('H100', { pci: '0000:2a:00.0', uuid: 'b' }),
  ]);
  assert.deepEqual(
    adapters.map(({ index, name, type, software, pci }) => [index, name, type, software, pci]),
    [
      [0, 'H100', 'discrete', false, '0000:17:00.0'],
      [0, 'H100', 'discrete', false, '0000:2a:00.0'],
      [1, 'Arc', 'integrated', false, undefined],
      [2, 'llvmpipe', 'cpu', true, undefined],
    ],
  );
  assert.equal(identityOf(adapters, undefined)?.exact, false);
  assert.deepEqual(identityOf(adapters, 'Arc'), {
    name: 'Arc',
    software: false,
    uuid: undefined,
    pci: undefined,
    exact: true,
  });
  assert.equal(identityOf(adapters, 'arc'), undefined);
});

test('nothing is said of which device is which where Dawn and Vulkan do not see equally many, or Vulkan is not asked', () => {
  const two = [device('H100', { uuid: 'a' }), device('H100', { uuid: 'b' })];
  const [one] = joinAdapters(vulkan('H100'), two);
  assert.deepEqual([one!.uuid, one!.type, one!.software], [undefined, 'discrete', false]);
  const [metal] = joinAdapters([{ backend: 'metal', name: 'Apple M3' }], undefined);
  assert.deepEqual([metal!.uuid, metal!.type, metal!.software], [undefined, undefined, false]);
  // A device of another interface than Vulkan's is not Vulkan's device of the same name.
  assert.equal(joinAdapters([{ backend: 'opengl', name: 'H100' }], [two[0]!])[0]!.uuid, undefined);
});

test('Dawn takes the first adapter whose name has the wanted part', () => {
  const adapters = joinAdapters(vulkan('RTX 4090 D', 'RTX 4090', 'llvmpipe'), undefined);
  for (const [wanted, index] of [
    [undefined, 0],
    ['RTX 4090', 0],
    ['pipe', 2],
    ['4090 D', 0],
  ] as const)
    assert.equal(adapterTaken(adapters, wanted)?.index, index, String(wanted));
  for (const [name, software] of [
    ['llvmpipe (LLVM 15.0.6, 256 bits)', true],
    ['SwiftShader Device (Subzero)', true],
    ['Microsoft Basic Render Driver', true],
    ['NVIDIA H100 80GB HBM3', false],
    ['Apple M3', false],
  ] as const)
    assert.equal(isSoftwareName(name), software, name);
});

test('Vulkan and Dawn see the same devices of this machine', async (t) => {
  const devices = physicalDevices();
  if (!devices) return t.skip('no Vulkan here');
  const adapters = await visibleAdapters();
  assert.ok(adapters.length > 0);
  for (const { name, type, backend, memory } of adapters) {
    assert.equal(backend, 'vulkan');
    assert.ok(
      devices.some((each) => each.name === name),
      `${name} is not among ${devices.map((each) => each.name).join(', ')}`,
    );
    assert.ok(type !== undefined);
    assert.ok(memory !== undefined && memory > 2 ** 20, `${name}: ${memory} bytes`);
    if (isSoftwareName(name)) assert.equal(type, 'cpu');
  }
});

/** What a fresh process lists, with an environment of its own. */
function listed(env: NodeJS.ProcessEnv): { name: string; index: number; uuid?: string }[] {
  const script = `const { visibleAdapters } = await import(${JSON.stringify(listModule)}); console.log(JSON.stringify(await visibleAdapters()));`;
  const result = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    env: { ...process.env, ...env },
    encoding: 'utf8',
  });
  assert.equal(result.status, 0, result.stderr);
  return JSON.parse(result.stdout);
}

test('a driver that is listed twice gives two devices of one name, which share an index and are not told apart', (t) => {
  const name = (['lavapipe', 'swiftshader'] as const).find((each) => {
    const cached = inspectDriver(each);
    return cached && cached.problem === undefined;
  });
  if (!name || process.platform !== 'linux') return t.skip('no cached driver here');
  const cached = inspectDriver(name)!;
  assert.ok(cached.problem === undefined);
  const icd = JSON.parse(fs.readFileSync(path.join(driverFolder(name), cached.manifest.icd), 'utf8'));
  const library = icd.ICD.library_path as string;
  // The loader tells drivers apart by their files: a link to the library is another driver.
  const files = ['one', 'two'].map((each) => {
    const link = path.join(folder, `${each}.so`);
    fs.symlinkSync(path.resolve(driverFolder(name), library), link);
    const file = path.join(folder, `${each}.json`);
    fs.writeFileSync(file, JSON.stringify({ ...icd, ICD: { ...icd.ICD, library_path: link } }));
    return file;
  });
  const adapters = listed({ VK_DRIVER_FILES: files.join(':'), DAWNTUNE_SOFTWARE: '' });
  assert.equal(adapters.length, 2);
  assert.equal(adapters[0]!.name, adapters[1]!.name);
  assert.deepEqual(
    adapters.map(({ index }) => index),
    [0, 0],
  );
});
