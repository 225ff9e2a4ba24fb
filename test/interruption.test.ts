/** A run that is asked to stop saves where it stands, and goes on from there as if it had not been. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { checkpoints } from '../src/train/checkpoints/checkpoints.js';
import { interrupted, LINES, reference } from './interrupted-runs.js';
import { at, run } from './resumed-runs.js';

test('asked to stop between the batches of a step, or in an evaluation, a run goes on to the bit', async () => {
  const [name, line] = Object.entries(LINES)[0]!;
  await reference(name, line);
  // Twice on the way; the long tests stop at every look.
  await interrupted(name, line, 5, 4);
});

test('a run that is asked before its first step saves nothing, one that has ended writes its model', async () => {
  const stop = { requested: true };
  const { notes, steps } = await run('none', '', undefined, stop);
  assert.deepEqual([steps, fs.readdirSync(at('none'))], [[], ['report.html', 'run_record.json']]);
  assert.ok(!notes.some((note) => /checkpoint-|model written/.test(note)), notes.join('\n'));
  const late = { requested: false };
  const told = await run('all', '--max_steps 2', undefined, late, (step) => {
    late.requested = step === 2;
  });
  assert.deepEqual(told.steps, [1, 2]);
  assert.match(told.notes.join('\n'), /^model written to /m);
});

test('flags that are about checkpoints: what an interruption saves all the same is said', async () => {
  for (const [flag, expected, steps] of [
    [
      '--save_strategy no --save_total_limit 1',
      /^interrupted at step 2 of 3: saving checkpoint-2, in spite of --save_strategy no\n--resume_from_checkpoint .*checkpoint-2 goes on from there$/m,
      [2],
    ],
    [
      '--save_only_model',
      /^checkpoint-2 is a model alone, as --save_only_model says: no run goes on from it$/m,
      [2],
    ],
    ['--save_steps 2', undefined, [2]],
  ] as const) {
    fs.rmSync(at('flags'), { recursive: true, force: true });
    const stop = { requested: false };
    const { notes } = await run('flags', `--max_steps 3 --save_steps 3 ${flag}`, undefined, stop, (step) => {
      stop.requested ||= step === 1;
    });
    if (expected) assert.match(notes.join('\n'), expected);
    else assert.doesNotMatch(notes.join('\n'), /interrupted|goes on/);
    assert.deepEqual(
      checkpoints(at('flags')).map(({ step }) => step),
      steps,
    );
    assert.ok(!fs.existsSync(path.join(at('flags'), 'model.safetensors')));
  }
});

test('a second signal ends the process at once, in the midst of a save too, and nothing of it stays', async () => {
  const folder = at('twice');
  const module = (name: string) => JSON.stringify(new URL(`../src/${name}.js`, import.meta.url).href);
  const script = `
    import fs from 'node:fs';
    import { FolderLock } from ${module('files/lock')};
    import { publishFolder } from ${module('files/publish')};
    import { interruptible } from ${module('console/interruption')};
    import { silentReporter } from ${module('console/reporter')};
    import { trainingInterruption } from ${module('train/interruption')};
    const report = interruptible({ ...silentReporter, note: (line) => console.log(line) }, trainingInterruption);
    FolderLock.acquire(${JSON.stringify(folder)});
    report.start(9);
    report.step(4, 1);
    report.saved('checkpoint-3');
    await publishFolder(${JSON.stringify(folder)}, 'checkpoint-4', async (into) => {
      fs.writeFileSync(into + '/model.safetensors', 'half');
      console.log('saving');
      await new Promise((resolve) => setTimeout(resolve, 60_000));
    });`;
  for (const [signal, code, again] of [
    ['SIGINT', 130, 'Ctrl-C'],
    ['SIGTERM', 143, 'SIGTERM'],
  ] as const) {
    fs.mkdirSync(folder, { recursive: true });
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let told = '';
    child.stdout.on('data', (bytes) => {
      told += bytes;
      if (/^saving$/m.test(told) && !child.killed) {
        // A terminal's and that which npm passes on are one.
        child.kill(signal);
        setTimeout(() => child.kill(signal), 100);
        setTimeout(() => assert.ok(fs.existsSync(path.join(folder, '.dawntune.lock'))), 300);
        setTimeout(() => child.kill(signal), 700);
      }
    });
    const [status] = await once(child, 'close');
    assert.equal(status, code, told);
    assert.deepEqual(told.trimEnd().split('\n'), [
      'saving',
      `${signal}: the run ends with the step that is in hand and saves a checkpoint; a second ${again} ends it at once`,
      'interrupted at step 4 of 9; newest whole checkpoint: checkpoint-3',
    ]);
    assert.deepEqual(fs.readdirSync(folder), []);
  }
});
