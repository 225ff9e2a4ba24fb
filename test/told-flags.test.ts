/** What there is to say of a command's flags is said by every command: none drops the notices of its flags. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { parseDoctorArguments } from '../src/doctor/arguments.js';
import { repositoryRoot } from './repository.js';

test('whoever parses flags takes the notices', () => {
  let seen = 0;
  for (const folder of ['src', 'bench'])
    for (const name of fs.readdirSync(path.join(repositoryRoot, folder), {
      recursive: true,
      encoding: 'utf8',
    })) {
      if (!name.endsWith('.ts') || name === 'flags.ts') continue;
      const text = fs.readFileSync(path.join(repositoryRoot, folder, name), 'utf8');
      // With no words there is nothing to say.
      for (const [call, taken = ''] of text.matchAll(/(?:\{([^{}]*)\} = )?parseFlags\((?!\w+, \[\]\))/g)) {
        seen++;
        assert.match(taken, /\bnotices\b/, `${folder}/${name}: ${call}`);
      }
    }
  assert.ok(seen >= 9, `${seen} calls`);
});

test('a flag that is given twice is told of, in the form that the flags ask for', () => {
  const toldOf = (...more: string[]) => {
    const { write } = process.stderr;
    let told = '';
    process.stderr.write = (text: string | Uint8Array) => {
      told += text;
      return true;
    };
    try {
      assert.equal(parseDoctorArguments(['--adapter', 'a', '--adapter', 'b', ...more]).adapter, 'b');
    } finally {
      process.stderr.write = write;
    }
    return told;
  };
  const line = '--adapter is given more than once: the last counts';
  assert.equal(toldOf(), `${line}\n`);
  assert.deepEqual(JSON.parse(toldOf('--progress', 'json')), { kind: 'notice', text: line });
});
