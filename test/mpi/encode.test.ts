/** `mpirun … dawntune encode`: two processes write the bytes of one, of texts that the first of them reads from a file. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { golden, repositoryRoot } from '../repository.js';
import { installations, mpirun } from './launch.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-mpi-encode-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));
const main = path.join(repositoryRoot, 'dist', 'src', 'cli', 'main.js');
const at = (name: string) => path.join(folder, name);

fs.writeFileSync(at('texts.txt'), Array.from({ length: 50 }, (_, i) => 'word '.repeat(i % 13)).join('\n'));
const words = (output: string) => [
  ...['encode', at('texts.txt'), '--model_name_or_path', golden('model'), '--output', at(output)],
  ...['--representations', 'dense,sparse,colbert', '--batch_tokens', '100'],
];

for (const installation of installations)
  test(`${installation.name}: two processes write what one writes; an error ends both with one line`, async () => {
    const one = spawnSync(process.execPath, [main, ...words('one.safetensors')], { encoding: 'utf8' });
    assert.equal(one.status, 0, one.stderr);
    const two = await mpirun(installation, [main, ...words('two.safetensors')], { ranks: 2, limit: 60 });
    assert.equal(two.code, 0, two.stderr);
    assert.ok(fs.readFileSync(at('two.safetensors')).equals(fs.readFileSync(at('one.safetensors'))));
    fs.writeFileSync(at('wrong.jsonl'), '{"text":"a"}\n{"text":5}\n');
    const wrong = words('none.npy').map((word) => word.replace('texts.txt', 'wrong.jsonl'));
    const ended = await mpirun(installation, [main, ...wrong], { ranks: 2, limit: 60 });
    assert.equal(ended.code, 2, ended.stderr);
    assert.equal(ended.stderr.match(/wrong\.jsonl:2: expected "text" to be a text, found 5/g)?.length, 1);
    assert.deepEqual(
      fs.readdirSync(folder).filter((name) => name.includes('none')),
      [],
    );
  });
