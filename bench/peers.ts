/**
 * `bench peers`: the same products, attention and a small training step on dawntune and on other libraries, in one run on
 * one adapter. Each library has a process of its own with its operands in place, is checked against float64 before it is
 * timed, and takes its turn in every round. What cannot run is a line with the reason.
 */
import { fileURLToPath } from 'node:url';
import { parseToldFlags } from '../src/console/told-flags.js';
import { MachineError } from '../src/errors.js';
import { driverFolder, prepareVulkan } from '../src/gpu/software-driver.js';
import { messageLine } from '../src/show.js';
import { peersFlags, type workloadNames } from './peers/flags.js';
import { requirePeers } from './peers/install.js';
import { PeerProcess } from './peers/process.js';
import type { Opened, Prepared, Timed } from './peers/protocol.js';
import { type PeerRow, ratesOf, renderPeers, summarize } from './peers/report.js';
import { torchProgram } from './peers/torch.js';
import { errorOf, flopsOf, nameOf, reference, toleranceOf, type Workload } from './peers/workloads.js';

/** A library that does not answer for so long has hung; the slowest known takes seconds. */
const TIMEOUT_S = 300;
const MOST_TIMES = 1024;

interface Peer {
  readonly name: string;
  readonly backend: 'webgpu' | 'cpu';
  readonly operands: string;
  readonly process: PeerProcess;
  opened?: Opened;
}

function workloadsOf(names: readonly (typeof workloadNames)[number][], sizes: readonly number[]): Workload[] {
  return names.flatMap((name): Workload[] => {
    if (name === 'matmul') return sizes.map((n) => ({ kind: 'matmul', n }));
    if (name === 'attention') return [{ kind: 'attention', texts: 2, tokens: 256, heads: 12, headDim: 64 }];
    if (name === 'characters') return [{ kind: 'characters' }];
    return [{ kind: 'train', rows: 128, width: 256, hidden: 1024 }];
  });
}

/** The processes, which are started one after the other: each opens an adapter. */
function startPeers(python: string | null): Peer[] {
  const { driver } = prepareVulkan();
  const child = fileURLToPath(new URL('./peers/child.js', import.meta.url));
  // What loads Vulkan itself finds the loader of the cache only where the dynamic linker looks.
  const lib = driver === 'system' ? [] : [`${driverFolder(driver)}/lib`];
  const path = [...lib, process.env['LD_LIBRARY_PATH']].filter(Boolean).join(':');
  const native = { ...process.env, ...(path ? { LD_LIBRARY_PATH: path } : {}) };
  const resident = 'resident';
  const start = (name: string, backend: Peer['backend'], operands: string, env = process.env): Peer => ({
    name,
    backend,
    operands,
    process: new PeerProcess(process.execPath, [child, name], env, TIMEOUT_S),
  });
  return [
    start('dawntune', 'webgpu', resident),
    start('jax-js', 'webgpu', resident),
    start('tfjs', 'webgpu', resident),
    start('onnxruntime webgpu', 'webgpu', 'resident, probed rows copied back', native),
    start('onnxruntime cpu', 'cpu', resident),
    ...(python === null
      ? []
      : [
          {
            name: 'PyTorch cpu',
            backend: 'cpu' as const,
            operands: resident,
            process: new PeerProcess(python, ['-c', torchProgram], process.env, TIMEOUT_S),
          },
        ]),
  ];
}

const reasonOf = (error: unknown): string => messageLine((error as Error).message);

export async function benchPeers(argv: readonly string[]): Promise<number> {
  const { values: options } = parseToldFlags(peersFlags, argv);
  const note = (line: string) => process.stderr.write(`${line}\n`);
  const folder = await requirePeers(options.install, note);
  const peers = startPeers(options.python);
  const rows: PeerRow[] = [];
  try {
    const closed = new Map<Peer, string>();
    for (const peer of peers)
      try {
        peer.opened = await peer.process.ask<Opened>({ do: 'open', adapter: options.adapter, folder });
        note(`${peer.name} ${peer.opened.version}${peer.opened.adapter ? ` · ${peer.opened.adapter}` : ''}`);
      } catch (error) {
        closed.set(peer, reasonOf(error));
      }
    for (const workload of workloadsOf(options.workloads, options.sizes)) {
      note(nameOf(workload));
      rows.push(...(await compare(workload, peers, closed, options.rounds, options.minTime)));
    }
  } finally {
    for (const peer of peers) peer.process.stop();
  }
  const own = rows.filter(({ peer }) => peer === 'dawntune');
  const wrong = own.find(({ reason }) => reason !== undefined);
  const summaries = summarize(rows);
  if (options.json) {
    const adapter = peers[0]!.opened?.adapter ?? null;
    const date = new Date().toISOString().slice(0, 10);
    const figures = rows.map((row) => (row.reason === undefined ? { ...row, ...ratesOf(row) } : row));
    process.stdout.write(`${JSON.stringify({ suite: 'peers', adapter, date, rows: figures, summaries })}\n`);
  } else process.stdout.write(renderPeers(rows, summaries));
  if (wrong) throw new MachineError(`${wrong.workload}: dawntune: ${wrong.reason}`);
  return 0;
}

/** Repetitions that take a turn. A single one waits for its end alone and takes longer than one of many. */
async function timesOf({ process }: Peer, minTime: number): Promise<number> {
  for (let times = 1; ; ) {
    // PyTorch has nothing to make ready.
    await process.ask({ do: 'ready', times });
    const { seconds } = await process.ask<Timed>({ do: 'run', times });
    if (seconds >= minTime || times >= MOST_TIMES) return times;
    times = Math.min(MOST_TIMES, Math.max(times + 1, Math.ceil((1.05 * times * minTime) / seconds)));
  }
}

/** Checks every peer, then times those that are right, in turns. */
async function compare(
  workload: Workload,
  peers: readonly Peer[],
  closed: ReadonlyMap<Peer, string>,
  rounds: number,
  minTime: number,
): Promise<PeerRow[]> {
  const want = reference(workload);
  const [flops, tolerance] = [flopsOf(workload), toleranceOf(workload)];
  interface Running {
    readonly peer: Peer;
    readonly times: number;
    readonly error: number;
    readonly variant: string | null;
    readonly samples: Timed[];
    failure?: string;
  }
  const running: Running[] = [];
  const reasons = new Map(closed);
  for (const peer of peers) {
    if (reasons.has(peer)) continue;
    try {
      const { result, variant } = await peer.process.ask<Prepared>({ do: 'prepare', workload });
      const error = errorOf(result, want);
      if (!(error <= tolerance))
        throw new Error(
          `its result is wrong: relative error ${error.toExponential(1)}, allowed ${tolerance}`,
        );
      await peer.process.ask<Timed>({ do: 'run', times: 1 });
      running.push({ peer, times: await timesOf(peer, minTime), error, variant, samples: [] });
      await peer.process.ask({ do: 'rest' });
    } catch (error) {
      reasons.set(peer, reasonOf(error));
    }
  }
  for (let round = 0; round < rounds; round++)
    for (const [i] of running.entries()) {
      // Each round begins with another one.
      const each = running[(i + round) % running.length]!;
      if (each.failure !== undefined) continue;
      try {
        const { seconds, cpuSeconds } = await each.peer.process.ask<Timed>({ do: 'run', times: each.times });
        each.samples.push({ seconds: seconds / each.times, cpuSeconds: cpuSeconds / each.times });
        await each.peer.process.ask({ do: 'rest' });
      } catch (error) {
        each.failure = reasonOf(error);
      }
    }
  return peers.map((peer): PeerRow => {
    const found = running.find((each) => each.peer === peer);
    const row = {
      workload: nameOf(workload),
      ...workload,
      ...(workload.kind === 'matmul' ? { m: workload.n, k: workload.n, layout: 'NN' } : {}),
      dtype: 'f32',
      peer: peer.name,
      version: peer.opened?.version ?? null,
      backend: peer.backend,
      operands: peer.operands,
    };
    const reason = found?.failure ?? reasons.get(peer);
    if (!found || reason !== undefined) return { ...row, reason: reason ?? 'was not timed' };
    const { samples, times, error, variant } = found;
    return { ...row, variant, checked: error, flops, times, samples };
  });
}
