/**
 * Saves on a disk that is full, fails or may not be written, for the tests of that, short and long: one line, earlier
 * saves as they were, nothing left behind.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { InputError, MachineError } from '../src/errors.js';
import { OutputFolder } from '../src/models/output-folder.js';
import { type Failure, failingAt } from './failing-files.js';
import { fresh, hidden, inOutput, markOf, save } from './marked-saves.js';

const SAVES: Record<string, (output: OutputFolder) => Promise<void>> = {
  'of a checkpoint': (output) => output.saveAs('checkpoint-3', save(3)),
  'over a checkpoint': (output) => output.saveAs('checkpoint-2', save(3)),
  'of the model': (output) => output.save(save(3)),
};

/** Every file below a folder but those of the model itself. */
const earlier = (folder: string) =>
  new Map(
    fs
      .readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.startsWith('checkpoint-1/') && fs.statSync(path.join(folder, name)).isFile())
      .map((name) => [name, fs.readFileSync(path.join(folder, name), 'latin1')]),
  );

export function requireOneLine(error: unknown, when: string): void {
  assert.ok(error instanceof MachineError || error instanceof InputError, `${when}: ${error}`);
  assert.doesNotMatch(error.message, /\n/, when);
  assert.match(error.message, /: cannot (?:write|be written|be locked): |\.lock: cannot read: /, when);
}

const template = fresh();

/** Begins the failure at every `stride`-th operation of each save. */
export async function failEverywhere(failure: Failure, stride: number): Promise<void> {
  if (!fs.existsSync(template))
    await inOutput(template, async (output) => {
      await output.save(save(2));
      await output.saveAs('checkpoint-1', save(2));
      await output.saveAs('checkpoint-2', save(2));
    });
  const before = earlier(template);
  assert.ok(before.size > 5);
  let first = 0;
  for (const [name, body] of Object.entries(SAVES)) {
    const count = await failAt(Number.POSITIVE_INFINITY, failure, body, name);
    for (let at = first++ % stride; at < count; at += stride) await failAt(at, failure, body, name);
  }

  async function failAt(
    at: number,
    { code, how }: Failure,
    body: (output: OutputFolder) => Promise<void>,
    name: string,
  ): Promise<number> {
    const folder = fresh();
    fs.cpSync(template, folder, { recursive: true });
    const output = OutputFolder.open(folder);
    const { operations, error } = await failingAt(at, { code, how }, () => body(output));
    output.close();
    const when = `${code} (${how}) ${name} at ${at} ${operations[at]}`;
    if (at < operations.length) {
      if (error) requireOneLine(error, when);
      else assert.match(operations[at]!, /^(?:rm|rmdir|unlink)Sync /, when);
    }
    assert.deepEqual(earlier(folder), before, when);
    // What cannot be taken away stays for the next run, and so does a whole save that waits for its name.
    if (how === 'writes')
      assert.ok(
        hidden(folder).every((left) => !/\.(?:writing|old)|dawntune-tmp|\.lock|claim/.test(left)),
        `${when}: ${hidden(folder)}`,
      );
    await inOutput(folder, async () => {});
    assert.deepEqual(hidden(folder), [], when);
    assert.ok([2, 3].includes(markOf(folder)!), when);
    for (const step of [1, 2])
      assert.ok([2, 3].includes(markOf(path.join(folder, `checkpoint-${step}`))!), when);
    if (fs.existsSync(path.join(folder, 'checkpoint-3')))
      assert.equal(markOf(path.join(folder, 'checkpoint-3')), 3);
    fs.rmSync(folder, { recursive: true });
    return operations.length;
  }
}
