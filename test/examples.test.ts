/** The examples run, small: each from its first line to its last, in one process. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { repositoryRoot } from './repository.js';

const folder = path.join(repositoryRoot, 'examples');
/** Steps of each in the test, and below what its last loss must be by then. */
const STEPS: Readonly<Record<string, readonly [steps: number, loss: number]>> = {
  'linear-regression': [30, 0.05],
  'spiral-mlp': [30, 0.6],
  'character-model': [12, 2],
  digits: [30, 0.8],
  'bi-encoder': [10, 0.2],
  'own-kernel': [40, 0.4],
  m3: [3, 20],
};

test('the examples that train reach a loss', () => {
  const names = Object.keys(STEPS);
  const others = ['data', 'embedding-server'];
  assert.deepEqual(fs.readdirSync(folder).sort(), [...names, ...others].map((name) => `${name}.js`).sort());
  const script = names
    .map((name) => {
      const file = JSON.stringify(pathToFileURL(path.join(folder, `${name}.js`)).href);
      return `console.log('# ${name}'); process.argv[2] = '${STEPS[name]![0]}'; await import(${file});`;
    })
    .join('\n');
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', script, 'x', 'x'], {
    encoding: 'utf8',
  });
  for (const part of output.split('# ').slice(1)) {
    const name = part.split('\n')[0]!;
    const [steps, most] = STEPS[name]!;
    const loss = new RegExp(`^step ${steps} loss (\\S+)$`, 'm').exec(part)?.[1];
    assert.ok(Number(loss) < most, `${name}: loss ${loss} after ${steps} steps`);
  }
});

test('the embedding server encodes requests that wait together in one batch, and says what is wrong', async () => {
  const { serve } = (await import(pathToFileURL(path.join(folder, 'embedding-server.js')).href)) as {
    serve(port: number): Promise<import('node:http').Server>;
  };
  const server = await serve(0);
  try {
    const { port } = server.address() as import('node:net').AddressInfo;
    const ask = async (body: string) => {
      const response = await fetch(`http://127.0.0.1:${port}`, { method: 'POST', body });
      return { status: response.status, answer: (await response.json()) as Record<string, unknown> };
    };
    const texts = ['one text', 'another', 'the third', 'one text', 'fifth', 'sixth'];
    const answers = await Promise.all(texts.map((text) => ask(JSON.stringify([text, 'shared']))));
    const vectors = answers.map(({ answer }) => answer['vectors'] as number[][]);
    assert.ok(answers.every(({ status }) => status === 200));
    assert.ok(vectors.every((pair) => pair.length === 2 && pair[0]!.length === 32));
    assert.ok(Math.max(...answers.map(({ answer }) => answer['batch'] as number)) > 1);
    for (const [i, value] of vectors[0]![0]!.entries())
      assert.ok(Math.abs(value - vectors[3]![0]![i]!) < 1e-5, 'equal texts have equal vectors');
    for (const body of ['{', '[1]', '"text"']) assert.equal((await ask(body)).status, 400);
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
});
