/** Runs the programs of `examples/`, small: in the clone, and as an installed package has them. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

/** Steps of each that trains, and below what its last loss must be by then. */
const STEPS: Readonly<Record<string, readonly [steps: number, loss: number]>> = {
  'linear-regression': [30, 0.05],
  'spiral-mlp': [30, 0.6],
  'character-model': [12, 2],
  digits: [30, 0.8],
  'bi-encoder': [10, 0.2],
  'own-kernel': [40, 0.4],
  m3: [3, 20],
};

/** Runs all that train from `folder`, each from its first line to its last, in one process. */
export function trainExamples(folder: string): void {
  const names = Object.keys(STEPS);
  const others = ['data', 'embedding-server'];
  assert.deepEqual(fs.readdirSync(folder).sort(), [...names, ...others].map((name) => `${name}.js`).sort());
  const output = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-example-'));
  try {
    const script = names
      .map((name) => {
        const words = JSON.stringify([`${STEPS[name]![0]}`, '', path.join(output, name)]);
        const file = JSON.stringify(pathToFileURL(path.join(folder, `${name}.js`)).href);
        return `console.log('# ${name}'); process.argv.splice(2, 3, ...${words}); await import(${file});`;
      })
      .join('\n');
    const said = execFileSync(process.execPath, ['--input-type=module', '-e', script, 'x', 'x'], {
      encoding: 'utf8',
    });
    for (const part of said.split('# ').slice(1)) {
      const name = part.split('\n')[0]!;
      const [steps, most] = STEPS[name]!;
      const loss = new RegExp(`^step ${steps} loss (\\S+)$`, 'm').exec(part)?.[1];
      assert.ok(Number(loss) < most, `${name}: loss ${loss} after ${steps} steps`);
    }
    assert.ok(fs.existsSync(path.join(output, 'm3', 'model.safetensors')), 'M3 is saved');
  } finally {
    fs.rmSync(output, { recursive: true, force: true });
  }
}

/** Asks the server of `folder` for embeddings, some at once and some that it must refuse. */
export async function askEmbeddingServer(folder: string): Promise<void> {
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
}
