/** Who is taken to hang and who to be slow, on a clock of the test's own. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { progress } from '../src/progress.js';
import { RankError, type RankFailure } from '../src/ranks/communicator.js';
import { BeatsOfBusy, beatThroughFirst, Heartbeat, Watchdog } from '../src/ranks/heartbeat.js';

/** A watchdog of rank 0 of 3 with a timeout of 10 s, and what is around it. */
function watched() {
  const around = { now: 0, beats: [1, 1, 1], aborted: undefined as RankFailure | undefined };
  const dog = new Watchdog({
    rank: () => 0,
    timeoutSeconds: 10,
    aborted: () => around.aborted,
    beats: () => around.beats,
    clock: () => around.now,
  });
  /** Looks ten times a second, for as long as it is said. */
  const wait = (seconds: number, missing?: (rank: number) => boolean, each: () => void = () => {}) => {
    for (let i = 0; i < 10 * seconds; i++) {
      around.now += 100;
      each();
      dog.look(missing);
    }
  };
  return { around, dog, wait };
}

const silence = (rank: number) => (error: unknown) =>
  error instanceof RankError && error.failure.rank === rank && /no sign of life for 10 s/.test(error.message);

test('a rank that is silent while it is waited for ends the wait after the timeout, not before', () => {
  const { wait } = watched();
  wait(9.9, (rank) => rank === 2);
  assert.throws(() => wait(0.5, (rank) => rank === 2), silence(2));
});

test('a rank that beats is waited for, however long', () => {
  const { around, wait } = watched();
  wait(100, undefined, () => {
    for (const rank of [1, 2]) if (around.now % 9000 === 0) around.beats[rank]!++;
  });
});

test('a rank that is not waited for may be silent, and so may this one', () => {
  const { wait } = watched();
  wait(100, (rank) => rank === 0);
});

test('silence before the wait does not count', () => {
  const { dog, wait } = watched();
  wait(9, () => true);
  dog.begin();
  wait(9, () => true);
});

test('while nobody looked, as when the process is stopped, nobody is taken to be silent', () => {
  const { around, wait } = watched();
  wait(5);
  around.now += 3600_000;
  wait(3);
  assert.throws(() => wait(3), silence(1));
});

test('a rank that was never heard of has time to start', () => {
  const { around, wait } = watched();
  around.beats = [1, 0, 1];
  wait(19, (rank) => rank === 1);
  assert.throws(() => wait(2, (rank) => rank === 1), /no sign of life for 20 s/);
});

test('once all have met, a rank of which no beat came in time is not taken to be starting', () => {
  const { around, dog, wait } = watched();
  around.beats = [1, 0, 1];
  dog.met();
  assert.throws(() => wait(11, (rank) => rank === 1), silence(1));
});

test('an abort of this rank ends its wait at the next look', () => {
  const { around, dog } = watched();
  around.aborted = { rank: 0, message: 'a disk is full', exitCode: 1 };
  assert.throws(() => dog.look(), /rank 0: a disk is full/);
});

test('a busy rank is beaten for until it gave no sign of progress itself for too long', () => {
  let now = 0;
  const beats = new BeatsOfBusy(10, () => now);
  let [own, told] = [1, 0];
  /** Seconds in which what is told does not stand still; the first in which it does ends it. */
  const alive = (seconds: number, busy: boolean, each: () => void = () => {}) => {
    for (let i = 0; i < 10 * seconds; i++) {
      now += 100;
      each();
      const next = beats.count(own, busy);
      if (next === told) return i / 10;
      told = next;
    }
    return seconds;
  };
  assert.equal(
    alive(60, false, () => own++),
    60,
  );
  assert.ok(alive(5, false) < 1, 'of one that is not busy only its own beats are told');
  const silent = alive(60, true);
  assert.ok(silent > 9.5 && silent < 10.5, `${silent} s`);
  // Every 9 s one, for a long time.
  const progressing = () => {
    if (now % 9000 === 0) own++;
  };
  own++;
  assert.equal(alive(900, true, progressing), 900);
  // Nobody called for an hour: the process was stopped.
  now += 3600_000;
  own++;
  assert.ok(alive(60, true) > 8);
});

test('progress of a thread is its beat, until its heart is stopped', () => {
  const cells = new Int32Array(2);
  const heart = new Heartbeat(cells, { beats: 0, busy: 1 });
  const before = cells[0]!;
  progress();
  assert.equal(cells[0], before + 1);
  heart.stop();
  progress();
  assert.equal(cells[0], before + 1);
});

test('while the first of several is made, and not later, another thread may beat for this one', async () => {
  const cells = new Int32Array(2);
  const heart = new Heartbeat(cells, { beats: 0, busy: 1 });
  const busy: number[] = [];
  let returned = false;
  async function* items() {
    try {
      for (;;) {
        busy.push(cells[1]!);
        yield busy.length;
      }
    } finally {
      returned = true;
    }
  }
  for await (const count of beatThroughFirst(items())) if (count === 3) break;
  heart.stop();
  assert.deepEqual(busy, [1, 0, 0]);
  assert.equal(cells[1], 0);
  assert.ok(returned);
});
