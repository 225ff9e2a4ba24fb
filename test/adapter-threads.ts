/**
 * A program for adapters-in-threads.test.ts: opens a device in each of several worker threads at once, on the adapters
 * that are named, and says what each computed. `copied`: threads have copies of the environment; `shared`: the process' own.
 * `stuck`: a thread hangs while adapters are enumerated, and the process ends with some last words.
 */
import { isMainThread, parentPort, SHARE_ENV, Worker, workerData } from 'node:worker_threads';
import { add, sum } from '../src/autograd/index.js';
import { leaveAtOnce } from '../src/cli/failure.js';
import { keepStandardError, withoutChatter } from '../src/gpu/dawn.js';
import { Gpu } from '../src/gpu/gpu.js';
import { Tensor } from '../src/tensor/tensor.js';

async function compute(adapter: string): Promise<{ name: string; total: number }> {
  const gpu = await Gpu.open({ adapter });
  const x = Tensor.from(
    gpu,
    Float32Array.from({ length: 1000 }, (_, i) => i),
    [1000],
  );
  const total = await sum(add(x, x)).item();
  const { name } = gpu.capabilities;
  await gpu.close();
  return { name, total };
}

const [how, ...adapters] = process.argv.slice(2);

if (how === 'stuck') {
  if (isMainThread) {
    const ownErrors = keepStandardError();
    new Worker(new URL(import.meta.url), { argv: process.argv.slice(2) }).on('message', () => {
      process.stderr.write('swallowed\n');
      ownErrors();
      process.stderr.write('last words\n');
      leaveAtOnce(3);
    });
  } else
    withoutChatter(() => {
      parentPort!.postMessage('in it');
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
    });
} else if (isMainThread) {
  const told = adapters.map(
    (adapter) =>
      new Promise((resolve, reject) => {
        const thread = new Worker(new URL(import.meta.url), {
          workerData: adapter,
          ...(how === 'shared' ? { env: SHARE_ENV } : {}),
        });
        thread.on('message', resolve);
        thread.on('error', reject);
      }),
  );
  console.log(JSON.stringify(await Promise.all(told)));
} else parentPort!.postMessage(await compute(workerData as string));
