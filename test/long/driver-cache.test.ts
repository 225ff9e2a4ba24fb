/** `setup` on damaged drivers of the cache, with an archive that stands for apt's: each is replaced by a whole one. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { archiveOf, cachedDriver, copyDriver, type DriverCopy, setupProgram } from '../cached-driver.js';

const skip =
  cachedDriver !== 'lavapipe' || !fs.existsSync('/etc/apt')
    ? 'needs a cached lavapipe and apt sources'
    : false;

describe('setup replaces', { skip }, () => {
  let good: DriverCopy;
  let copy: DriverCopy;
  before(() => {
    good = copyDriver('lavapipe');
    copy = copyDriver('lavapipe');
    copy.env['PATH'] = archiveOf(good.driver, copy.cache);
  });
  after(() => {
    for (const { cache } of [good, copy]) fs.rmSync(cache, { recursive: true });
  });

  async function setup(): Promise<{ status: number | null; signal: string | null; stderr: string }> {
    const child = spawn(process.execPath, [setupProgram], {
      env: copy.env,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    const [status, signal] = (await once(child, 'close')) as [number | null, string | null];
    return { status, signal, stderr };
  }

  const library = () => path.join(copy.driver, 'lib/libvulkan_lvp.so');
  const damages: [string, () => void][] = [
    ['a library cut in half', () => fs.truncateSync(library(), fs.statSync(library()).size / 2)],
    [
      'a library with other bytes',
      () => {
        const descriptor = fs.openSync(library(), 'r+');
        fs.writeSync(descriptor, Buffer.alloc(1 << 20, 0xff), 0, 1 << 20, 1 << 20);
        fs.closeSync(descriptor);
      },
    ],
    ['a library without a name', () => fs.rmSync(library())],
    ['a description that is null', () => fs.writeFileSync(path.join(copy.driver, 'icd.json'), 'null')],
    ['a description that is cut off', () => fs.truncateSync(path.join(copy.driver, 'icd.json'), 20)],
    ['a manifest that is null', () => fs.writeFileSync(path.join(copy.driver, 'manifest.json'), 'null')],
    [
      'a manifest that leads out of the folder',
      () =>
        fs.writeFileSync(path.join(copy.driver, 'manifest.json'), '{"format":1,"libraries":["../../x.so"]}'),
    ],
    [
      'an empty folder',
      () => {
        fs.rmSync(copy.driver, { recursive: true });
        fs.mkdirSync(copy.driver, { mode: 0o700 });
      },
    ],
    ['no folder', () => fs.rmSync(copy.driver, { recursive: true })],
  ];

  const isWhole = () => {
    assert.deepEqual(fs.readdirSync(path.dirname(copy.driver)), [path.basename(copy.driver)]);
    assert.equal(fs.statSync(copy.driver).mode & 0o777, 0o700);
    for (const name of [
      'icd.json',
      ...fs.readdirSync(path.join(copy.driver, 'lib')).map((file) => `lib/${file}`),
    ])
      assert.ok(
        fs.readFileSync(path.join(copy.driver, name)).equals(fs.readFileSync(path.join(good.driver, name))),
        name,
      );
  };

  for (const [what, damage] of damages)
    test(what, async () => {
      damage();
      const first = await setup();
      assert.deepEqual([first.status, first.signal], [0, null], first.stderr);
      assert.match(first.stderr, /^dawntune setup: [^\n]* was put into [^\n]*; using llvmpipe [^\n]*\n$/);
      isWhole();
      assert.deepEqual(await setup(), { status: 0, signal: null, stderr: '' });
    });

  test('a library with other bytes and no sums recorded, which ends whoever loads it', async () => {
    const file = path.join(copy.driver, 'manifest.json');
    const { files: _, ...earlier } = JSON.parse(fs.readFileSync(file, 'utf8'));
    fs.writeFileSync(file, JSON.stringify(earlier));
    damages[1]![1]();
    const result = await setup();
    assert.deepEqual([result.status, result.signal], [0, null], result.stderr);
    assert.match(result.stderr, /^dawntune setup: [^\n]* was put into [^\n]*\n$/);
    isWhole();
  });

  test('two at once, on a damaged driver and on none', async () => {
    for (const [, damage] of [damages[0]!, damages.at(-1)!]) {
      damage();
      for (const { status, signal, stderr } of await Promise.all([setup(), setup(), setup()]))
        assert.deepEqual([status, signal], [0, null], stderr);
      isWhole();
    }
  });
});
