/** What other systems do with files, as far as it can be tried here: Windows' paths, files that are held, its text files. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { InputError } from '../src/errors.js';
import { liesIn } from '../src/files/inside.js';
import { readJson } from '../src/files/json.js';
import { readLines } from '../src/files/lines.js';
import { rename, whileHeld } from '../src/files/rename.js';

test('what lies in a folder, by the paths of both kinds of system', () => {
  for (const [folder, file, within] of [
    ['C:\\models\\bge', 'C:\\models\\bge\\config.json', true],
    ['C:\\models\\bge', 'C:\\models\\bge\\1_Pooling\\config.json', true],
    ['C:\\models\\bge', 'c:\\Models\\BGE\\config.json', true],
    ['M:\\', 'M:\\config.json', true],
    ['\\\\server\\share\\', '\\\\server\\share\\config.json', true],
    ['C:\\models\\bge', 'C:\\models\\bge-other\\config.json', false],
    ['C:\\models\\bge', 'C:\\models\\config.json', false],
    ['C:\\models\\bge', 'D:\\models\\bge\\config.json', false],
    ['C:\\models\\bge', 'C:\\models\\bge', false],
  ] as const)
    assert.equal(liesIn(folder, file, path.win32), within, `${file} in ${folder}`);
  for (const [folder, file, within] of [
    ['/models/bge', '/models/bge/config.json', true],
    ['/models/bge', '/models/bge/..config.json', true],
    ['/', '/config.json', true],
    ['/models/bge', '/models/bge-other/config.json', false],
    ['/models/bge', '/models', false],
  ] as const)
    assert.equal(liesIn(folder, file, path.posix), within, `${file} in ${folder}`);
});

test('a file that another program holds is tried again on Windows alone, and not for ever', () => {
  const held = (times: number, code: string) => {
    let calls = 0;
    const act = () => {
      if (++calls <= times) throw Object.assign(new Error(code), { code });
    };
    return { act, calls: () => calls };
  };
  for (const code of ['EPERM', 'EACCES', 'EBUSY']) {
    const once = held(2, code);
    whileHeld(once.act, 'win32');
    assert.equal(once.calls(), 3);
    const elsewhere = held(1, code);
    assert.throws(() => whileHeld(elsewhere.act, 'linux'), { code });
    assert.equal(elsewhere.calls(), 1);
  }
  const full = held(1, 'ENOSPC');
  assert.throws(() => whileHeld(full.act, 'win32'), { code: 'ENOSPC' });
  assert.equal(full.calls(), 1);
});

test('files of Windows: line ends of two characters, byte order marks, and UTF-16, which is told', () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-systems-'));
  const file = path.join(folder, 'rows.jsonl');
  try {
    fs.writeFileSync(file, '\ufeff{"a":1}\r\n{"a":2}\r\n');
    assert.deepEqual(
      [...readLines(file)].map(({ text }) => text),
      ['{"a":1}', '{"a":2}'],
    );
    fs.writeFileSync(file, '\ufeff{\r\n"a": 1\r\n}\r\n');
    assert.deepEqual({ ...(readJson(file) as object) }, { a: 1 });
    fs.writeFileSync(file, Buffer.from('\ufeff{"a":1}\r\n', 'utf16le'));
    for (const read of [() => [...readLines(file)], () => readJson(file)])
      assert.throws(read, (error) => error instanceof InputError && /found UTF-16 text/.test(error.message));
    rename(file, path.join(folder, 'other.jsonl'));
    assert.deepEqual(fs.readdirSync(folder), ['other.jsonl']);
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
});
