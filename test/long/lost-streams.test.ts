/** The other ways in which standard streams go away. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import { test } from 'node:test';
import { onClosedTerminal, trainWithout } from '../lost-streams.js';

const options = { skip: fs.existsSync('/dev/full') ? false : 'needs /dev/full and pseudo terminals' };
const fine = { status: 0, signal: null, saved: true };

for (const redirection of [
  '2>&-',
  '>&- 2>&-',
  '<&- >&- 2>&-',
  '2>/dev/full',
  '>/dev/full',
  '2>/dev/full <&-',
])
  test(`sh -c "… ${redirection}"`, options, async () => {
    const outcome = await trainWithout((program, args) =>
      spawn('/bin/sh', ['-c', `exec "$0" "$@" ${redirection}`, program, ...args], { stdio: 'ignore' }),
    );
    assert.deepEqual(outcome, fine);
  });

for (const [what, streams] of [
  ['standard error', [2]],
  ['standard output', [1]],
  ['both', [1, 2]],
] as const)
  test(`the reader of ${what} ends at once`, options, async () => {
    const outcome = await trainWithout((program, args) => {
      const child = spawn(program, args, {
        stdio: [
          'ignore',
          streams.includes(1 as never) ? 'pipe' : 'ignore',
          streams.includes(2 as never) ? 'pipe' : 'ignore',
        ],
      });
      child.stdout?.destroy();
      child.stderr?.destroy();
      return child;
    });
    assert.deepEqual(outcome, fine);
  });

for (const streams of [[0], [1], [2], [0, 2], [0, 1, 2]])
  for (const signal of [undefined, 'SIGHUP'] as const)
    test(
      `the terminal of streams ${streams} is closed${signal ? ', and hangs up' : ''}`,
      options,
      async () => {
        const outcome = await trainWithout((program, args) =>
          onClosedTerminal(program, args, streams, 'step 0/', signal),
        );
        assert.deepEqual(outcome, fine);
      },
    );

test('a terminal that is gone before the program has begun', options, async () => {
  const outcome = await trainWithout((program, args) => onClosedTerminal(program, args, [0, 1, 2], ''));
  assert.deepEqual(outcome, fine);
});
