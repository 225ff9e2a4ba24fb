/**
 * A program for adapters-in-threads.test.ts: opens a device in each of several worker threads at once, on the adapters
 * that are named, and says what each computed. `copied`: threads have copies of the environment; `shared`: the process' own.
 */
import { isMainThread, parentPort, SHARE_ENV, Worker, workerData } from 'node:worker_threads';
import { add, sum } from '../src/autograd/index.js';
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

if (isMainThread) {
  const [how, ...adapters] = process.argv.slice(2);
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
