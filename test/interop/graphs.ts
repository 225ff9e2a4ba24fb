/**
 * `npm run interop:graphs -- --python PYTHON`: random graphs of all operations, values and gradients beside PyTorch's in
 * float64. Every graph follows from the seed and its number. Graphs on which PyTorch's own f32 is far from its float64, which
 * hold a tie, or whose numbers are no sensible f32, are drawn again. Exits with 1 where something differs by more than 1e-4 of
 * the largest value, or where an operation that fits throws.
 */
import { backwardAll } from '../../src/autograd/index.js';
import { MachineError } from '../../src/errors.js';
import { renderHelp, usageLine, wantsHelp } from '../../src/flag-help.js';
import { parseFlags } from '../../src/flags.js';
import { Gpu } from '../../src/gpu/gpu.js';
import { messageLine } from '../../src/show.js';
import { scope } from '../../src/tensor/scope.js';
import { Tensor } from '../../src/tensor/tensor.js';
import { graphInteropFlags } from './flags.js';
import { Draw } from './graphs/draw.js';
import { lossRows } from './graphs/loss-rows.js';
import { differenceOf, Oracle } from './graphs/oracle.js';
import { graphRows } from './graphs/rows.js';

const TOLERANCE = 1e-4;

const allRows = [...graphRows, ...lossRows];

interface Made {
  readonly graph: object;
  readonly names: readonly string[];
  readonly values: readonly {
    readonly shape: readonly number[];
    readonly numbers: readonly number[] | undefined;
  }[];
  readonly gradients: readonly (readonly number[])[];
}

/** One graph: drawn, computed here and put in words for the other side. */
async function make(gpu: Gpu, seed: number, most: number): Promise<Made> {
  return scope(async () => {
    const draw = new Draw(gpu, seed);
    const nodes: { name: string; inputs: number[]; attributes: object; torch: string; apart?: string }[] = [];
    const at = new Map<number, (typeof nodes)[number]>();
    for (let n = 1 + draw.below(most); n > 0; n--) {
      const row = draw.one(allRows);
      const drawn = row.draw(draw);
      if (!drawn) continue;
      const { x, a = {} } = drawn;
      let y: Tensor;
      try {
        y = row.ours(x, a);
      } catch (error) {
        const shapes = x.map(({ shape, dtype }) => `[${shape}] ${dtype}`).join(', ');
        throw new MachineError(
          `${row.name} of ${shapes} with ${JSON.stringify(a)}: ${(error as Error).name}: ${messageLine((error as Error).message)}`,
        );
      }
      const node = {
        ...{ name: row.name, inputs: x.map((each) => draw.tensors.indexOf(each)), attributes: a },
        ...{ torch: row.torch, ...(row.apart ? { apart: row.apart } : {}) },
      };
      at.set(draw.tensors.length, node);
      draw.tensors.push(y);
      nodes.push(node);
    }
    const used = new Set(nodes.flatMap(({ inputs }) => inputs));
    const ends = [...at.keys()].filter((i) => !used.has(i) && draw.tensors[i]!.dtype === 'f32');
    const seeds = ends.map((i) => {
      const { shape, size } = draw.tensors[i]!;
      const weights = Float32Array.from({ length: size }, () => 2 * draw.next() - 1);
      return { i, weights, tensor: Tensor.from(gpu, weights, shape) };
    });
    const roots = seeds.filter(({ i }) => draw.tensors[i]!.node !== undefined);
    if (roots.length > 0) backwardAll(roots.map(({ i, tensor }) => [draw.tensors[i]!, tensor] as const));
    const values = [];
    const gradients = [];
    for (const [i, tensor] of draw.tensors.entries()) {
      const { shape, dtype } = tensor;
      values.push({
        shape,
        numbers: at.has(i) ? Array.from(await tensor.toArray(), Number) : undefined,
        dtype,
      });
      const leaf = draw.leaves.get(i);
      if (leaf && !leaf.ids)
        gradients.push(
          tensor.grad ? [...(await tensor.grad.toFloat32())] : new Array<number>(tensor.size).fill(0),
        );
    }
    const graph = {
      tensors: draw.tensors.map((_, i) => draw.leaves.get(i) ?? at.get(i)!),
      seeds: seeds.map(({ i, weights }) => [i, [...weights]]),
    };
    return { graph, names: nodes.map(({ name }) => name), values, gradients };
  });
}

async function main(argv: readonly string[]): Promise<number> {
  if (wantsHelp(argv)) {
    process.stdout.write(
      renderHelp(usageLine('npm run interop:graphs --', graphInteropFlags), graphInteropFlags),
    );
    return 0;
  }
  const { values: options } = parseFlags(graphInteropFlags, argv);
  const oracle = new Oracle(options.python);
  const gpu = await Gpu.open(options.adapter ? { adapter: options.adapter } : {});
  const tried = new Map<string, number>();
  const rejected = new Map<string, number>();
  let [done, worst, wrong] = [0, 0, 0];
  for (let number = 0; done < options.graphs; number++) {
    const seed = (options.seed * 1_000_003 + number) >>> 0;
    const tell = (problem: string) => {
      wrong++;
      process.stdout.write(`graph ${number} of seed ${options.seed}: ${problem}\n`);
    };
    let made: Made;
    try {
      made = await make(gpu, seed, options.most);
    } catch (error) {
      done++;
      tell(messageLine((error as Error).message));
      continue;
    }
    if (made.names.length === 0) continue;
    const answer = await oracle.ask(made.graph);
    if ('rejected' in answer) {
      rejected.set(answer.rejected, (rejected.get(answer.rejected) ?? 0) + 1);
      continue;
    }
    done++;
    if ('error' in answer) {
      tell(`PyTorch: ${answer.error} in ${made.names.join(', ')}`);
      continue;
    }
    for (const name of made.names) tried.set(name, (tried.get(name) ?? 0) + 1);
    let node = 0;
    for (const [i, { shape, numbers }] of made.values.entries()) {
      if (numbers === undefined) continue;
      const name = made.names[node++]!;
      if (String(shape) !== String(answer.shapes[i]))
        tell(`${name} has the shape [${shape}], in PyTorch [${answer.shapes[i]}]`);
      const difference = differenceOf(numbers, answer.values[i]!);
      worst = Math.max(worst, difference);
      if (!(difference <= TOLERANCE)) tell(`${name} differs by ${difference.toExponential(1)}`);
    }
    for (const [i, gradient] of made.gradients.entries()) {
      const difference = differenceOf(gradient, answer.gradients[i]!);
      worst = Math.max(worst, difference);
      if (!(difference <= TOLERANCE))
        tell(
          `the gradient of leaf ${i} differs by ${difference.toExponential(1)} in ${made.names.join(', ')}`,
        );
    }
  }
  oracle.close();
  await gpu.close();
  const missing = allRows.filter(({ name }) => !tried.has(name)).map(({ name }) => name);
  process.stdout.write(
    `${done} graphs, ${wrong} differences; largest ${worst.toExponential(1)} of the largest value\n` +
      `drawn again: ${[...rejected].map(([reason, count]) => `${reason} ${count}`).join(', ') || 'none'}\n` +
      `${tried.size} of ${allRows.length} operations, each ${Math.min(...tried.values())} to ${Math.max(...tried.values())} times\n` +
      (missing.length > 0 ? `not tried: ${missing.join(', ')}\n` : ''),
  );
  return wrong > 0 ? 1 : 0;
}

process.exitCode = await main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`interop:graphs: ${(error as Error).message}\n`);
  return 1;
});
