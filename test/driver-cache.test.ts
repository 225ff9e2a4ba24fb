/** A software driver's folder in the cache: what may be loaded from it, and what a damaged one leads to. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { inspectDriver } from '../src/gpu/driver-cache.js';
import { cachedDriver, copyDriver, type DriverCopy, setupProgram } from './cached-driver.js';

describe('the cached driver', { skip: cachedDriver === undefined ? 'no cached driver' : false }, () => {
  const name = cachedDriver!;
  let copy: DriverCopy;
  let manifest: Record<string, unknown>;
  let icd: string;
  const usual = process.env['DAWNTUNE_CACHE'];
  before(() => {
    copy = copyDriver(name);
    process.env['DAWNTUNE_CACHE'] = copy.cache;
    manifest = JSON.parse(fs.readFileSync(path.join(copy.driver, 'manifest.json'), 'utf8'));
    icd = fs.readFileSync(path.join(copy.driver, 'icd.json'), 'utf8');
  });
  after(() => {
    if (usual === undefined) delete process.env['DAWNTUNE_CACHE'];
    else process.env['DAWNTUNE_CACHE'] = usual;
    fs.rmSync(copy.cache, { recursive: true });
  });

  const write = (file: string, content: unknown) =>
    fs.writeFileSync(
      path.join(copy.driver, file),
      typeof content === 'string' ? content : JSON.stringify(content),
    );

  test('as it was installed it may be loaded, with and without sizes in the manifest', () => {
    assert.deepEqual(inspectDriver(name)?.problem, undefined);
    const { files: _, ...earlier } = manifest;
    write('manifest.json', earlier);
    assert.deepEqual(inspectDriver(name)?.problem, undefined);
    write('manifest.json', manifest);
  });

  test('manifests of every wrong form are refused with one line', () => {
    const deep = `${'['.repeat(20_000)}${']'.repeat(20_000)}`;
    const whole: unknown[] = [
      null,
      [],
      [1],
      '"text"',
      'true',
      '7',
      '',
      '{"format": 1, "na',
      deep,
      `{"format":${deep}}`,
    ];
    const parts: Record<string, unknown[]> = {
      format: [0, 2, '1', null, undefined],
      name: ['lvp', null, 3, ['lavapipe'], 'toString', '__proto__'],
      version: [null, 3, {}],
      icd: [
        null,
        7,
        '',
        '.',
        '..',
        '../icd.json',
        '/etc/passwd',
        'lib/../icd.json',
        'a/b.json',
        'icd.json\0',
        {},
      ],
      libraries: [
        null,
        'lib/libvulkan.so.1',
        {},
        [],
        [null],
        [1],
        [['lib/libvulkan.so.1']],
        ['../../../etc/passwd'],
        ['/usr/lib/libm.so'],
        ['lib/../../x.so'],
        ['lib//x.so'],
        ['./lib/x.so'],
        ['lib\\x.so'],
        ['lib/x.so\n'],
        Array(1000).fill('lib/libvulkan.so.1'),
        ['lib/missing.so'],
        ['lib'],
      ],
      files: [
        null,
        [],
        7,
        {},
        { 'icd.json': null },
        { toString: {} },
        { 'icd.json': { bytes: -1, sha256: 'x' } },
      ],
    };
    for (const content of whole) {
      write('manifest.json', content);
      const found = inspectDriver(name);
      assert.match(found?.problem ?? 'none', /manifest\.json: .*(expected|found)/);
      assert.doesNotMatch(found!.problem!, /\n/);
    }
    for (const [key, values] of Object.entries(parts))
      for (const value of values) {
        write('manifest.json', { ...manifest, [key]: value });
        const found = inspectDriver(name);
        assert.match(found?.problem ?? 'none', /manifest\.json: .*expected|: is missing|regular file/, key);
      }
    fs.rmSync(path.join(copy.driver, 'manifest.json'));
    fs.mkdirSync(path.join(copy.driver, 'manifest.json'));
    assert.match(inspectDriver(name)?.problem ?? 'none', /manifest\.json/);
    fs.rmdirSync(path.join(copy.driver, 'manifest.json'));
    assert.match(inspectDriver(name)?.problem ?? 'none', /manifest\.json/);
    write('manifest.json', manifest);
  });

  test('descriptions of every wrong form are refused', () => {
    const { files: _, ...earlier } = manifest;
    write('manifest.json', earlier);
    for (const content of [
      '',
      '{',
      null,
      [],
      'null',
      { ICD: null },
      { ICD: [] },
      { ICD: {} },
      { ICD: { library_path: 3 } },
      { ICD: { library_path: '/usr/lib/evil.so' } },
      { ICD: { library_path: '../../evil.so' } },
      { ICD: { library_path: 'libvulkan_lvp.so' } },
    ]) {
      write('icd.json', content);
      assert.match(inspectDriver(name)?.problem ?? 'none', /icd\.json: .*(expected|found)/);
    }
    write('icd.json', icd);
    write('manifest.json', manifest);
  });

  test('a library that is cut off, empty, no library, a link, a pipe or gone is not loaded', () => {
    const library = path.join(copy.driver, (manifest['libraries'] as string[])[0]!);
    const bytes = fs.readFileSync(library);
    const { files: _, ...earlier } = manifest;
    for (const form of [manifest, earlier]) {
      write('manifest.json', form);
      for (const [what, content] of [
        ['half', bytes.subarray(0, bytes.length / 2)],
        ['empty', Buffer.alloc(0)],
        ['no library', Buffer.alloc(bytes.length, 'x')],
        ['only a header', bytes.subarray(0, 100)],
      ] as const) {
        fs.writeFileSync(library, content);
        assert.match(inspectDriver(name)?.problem ?? 'none', /expected .*(bytes|shared object)/, what);
      }
      fs.rmSync(library);
      assert.match(inspectDriver(name)?.problem ?? 'none', /is missing/);
      fs.symlinkSync('/etc/passwd', library);
      assert.match(inspectDriver(name)?.problem ?? 'none', /expected a regular file/);
      fs.rmSync(library);
      if (spawnSync('mkfifo', [library]).status === 0) {
        assert.match(inspectDriver(name)?.problem ?? 'none', /expected a regular file/);
        fs.rmSync(library);
      }
      fs.writeFileSync(library, bytes);
    }
    write('manifest.json', manifest);
    assert.equal(inspectDriver(name)?.problem, undefined);
  });

  test('where others may write, or what belongs to others, nothing is loaded, and setup does not replace it', () => {
    const library = path.join(copy.driver, (manifest['libraries'] as string[])[0]!);
    for (const place of [copy.cache, path.dirname(copy.driver), copy.driver, library])
      for (const mode of [0o777, 0o770, 0o722]) {
        const before = fs.statSync(place).mode;
        fs.chmodSync(place, mode);
        const found = inspectDriver(name);
        assert.match(found?.problem ?? 'none', /others may write there \(mode 7\d\d\)/);
        assert.ok(found?.problem && found.unsafe);
        fs.chmodSync(place, before);
      }
    if (process.getuid?.() === 0)
      for (const place of [copy.cache, copy.driver, library]) {
        fs.chownSync(place, 12345, 0);
        assert.match(inspectDriver(name)?.problem ?? 'none', /belongs to user 12345, and this is user 0/);
        fs.chownSync(place, 0, 0);
      }
    assert.equal(inspectDriver(name)?.problem, undefined);
    fs.chmodSync(copy.cache, 0o777);
    const result = spawnSync(process.execPath, [setupProgram], { env: copy.env, encoding: 'utf8' });
    fs.chmodSync(copy.cache, 0o700);
    assert.deepEqual([result.status, result.signal], [1, null]);
    assert.match(result.stderr, /^dawntune: [^\n]*others may write there \(mode 777\)[^\n]*\n$/);
    assert.ok(fs.existsSync(library));
  });

  test('setup survives a library that was cut off, and says so where it cannot be replaced', () => {
    const library = path.join(copy.driver, (manifest['libraries'] as string[]).at(-1)!);
    fs.truncateSync(library, fs.statSync(library).size / 2);
    const result = spawnSync(process.execPath, [setupProgram], { env: copy.env, encoding: 'utf8' });
    assert.deepEqual([result.status, result.signal, result.stdout], [1, null, ''], result.stderr);
    assert.match(
      result.stderr,
      /^dawntune: no Vulkan adapter, and no software one could be set up: [^\n]*bytes as it was installed, found[^\n]*\n$/,
    );
    assert.ok(!fs.existsSync(copy.driver), 'what ends the process is gone');
    assert.deepEqual(fs.readdirSync(path.dirname(copy.driver)), []);
  });
});
