/**
 * ONNX Runtime in Node, with its WebGPU provider (a Dawn of its own) or its CPU provider.
 *
 * It takes inputs from and gives outputs to the host's memory. So the operands are constants of the model, which it keeps
 * where it computes, the model does as many repetitions as one turn takes, and only the rows that are checked come back.
 * Optimisation of the graph is off, or it would compute constants once and for all.
 */

import { peerRequire, versionOf } from './dawn.js';
import { type OnnxConstant, type OnnxNode, onnxModel } from './onnx.js';
import type { Library, Work } from './protocol.js';
import {
  type AttentionWorkload,
  errorOf,
  type MatmulWorkload,
  operand,
  probeRows,
  reference,
  SEEDS,
  toleranceOf,
} from './workloads.js';

interface Session {
  run(feeds: object): Promise<Record<string, { data: Float32Array }>>;
  release(): Promise<void>;
}
interface OnnxRuntime {
  InferenceSession: { create(model: Uint8Array, options: object): Promise<Session> };
}

const open =
  (provider: 'webgpu' | 'cpu') =>
  async (folder: string): Promise<Library> => {
    const require = peerRequire(folder);
    const ort = require('onnxruntime-node') as OnnxRuntime;
    return {
      version: versionOf(folder, 'onnxruntime-node'),
      adapter: null,
      async prepare(workload) {
        if (workload.kind === 'train' || workload.kind === 'characters')
          throw new Error('onnxruntime-node does not train');
        if (workload.kind === 'matmul') return new OnnxWork(ort, provider, matmulPart(workload));
        const fused = new OnnxWork(ort, provider, fusedAttention(workload));
        // On some adapters the fused operator of the WebGPU provider gives wrong numbers.
        if (errorOf(await fused.result(), reference(workload)) <= toleranceOf(workload)) return fused;
        fused.dispose();
        return new OnnxWork(ort, provider, attentionInParts(workload));
      },
    };
  };

export const openWebGpu = open('webgpu');
export const openCpu = open('cpu');

class OnnxWork implements Work {
  private session: Session | undefined;
  private times = 0;

  constructor(
    private readonly ort: OnnxRuntime,
    private readonly provider: string,
    private readonly part: Part,
  ) {}

  async ready(times: number): Promise<void> {
    if (times === this.times) return;
    await this.session?.release();
    this.session = await this.ort.InferenceSession.create(model(this.part, times), {
      executionProviders: [this.provider],
      graphOptimizationLevel: 'disabled',
      logSeverityLevel: 3,
    });
    this.times = times;
  }

  async result(): Promise<readonly number[]> {
    await this.ready(1);
    return [...(await this.session!.run({}))['y']!.data];
  }

  variant(): string {
    return this.part.nodes.map(({ op }) => op).join(', ');
  }

  async run(times: number): Promise<void> {
    await this.ready(times);
    await this.session!.run({});
  }

  dispose(): void {
    void this.session?.release();
  }
}

/** Nodes that end in one result, of which some rows are wanted. */
interface Part {
  readonly constants: readonly OnnxConstant[];
  /** Each reads constants or the result of one before, by its place: `#0` is that of the first. */
  readonly nodes: readonly Omit<OnnxNode, 'outputs'>[];
  readonly axis: number;
  readonly rows: number;
  /** Of the wanted rows. */
  readonly shape: readonly number[];
}

/** Repetitions side by side; the wanted rows of each, one after the other. */
function model({ constants, nodes, axis, rows, shape }: Part, times: number): Uint8Array {
  const wanted = probeRows(rows);
  const each = Array.from({ length: times }, (_, i) => i);
  const result = (i: number, node: number | string) => `${i}#${node}`;
  return onnxModel({
    constants: [
      ...constants,
      { name: 'rows', shape: [wanted.length], values: BigInt64Array.from(wanted, BigInt) },
    ],
    nodes: [
      ...each.flatMap((i) =>
        nodes.map((node, place) => ({
          ...node,
          inputs: node.inputs.map((name) => (name.startsWith('#') ? result(i, name.slice(1)) : name)),
          outputs: [result(i, place)],
        })),
      ),
      ...each.map((i) => ({
        op: 'Gather',
        inputs: [result(i, nodes.length - 1), 'rows'],
        outputs: [result(i, 'rows')],
        attributes: { axis },
      })),
      { op: 'Concat', inputs: each.map((i) => result(i, 'rows')), outputs: ['y'], attributes: { axis: 0 } },
    ],
    output: { name: 'y', shape: shape.map((n, i) => (i === 0 ? times * n : n)) },
  });
}

function matmulPart({ n }: MatmulWorkload): Part {
  const constant = (name: 'a' | 'b') => ({ name, shape: [n, n], values: operand(SEEDS[name], n * n) });
  return {
    constants: [constant('a'), constant('b')],
    nodes: [{ op: 'MatMul', inputs: ['a', 'b'] }],
    axis: 0,
    rows: n,
    shape: [probeRows(n).length, n],
  };
}

/** Its own fused operator. */
function fusedAttention({ texts, tokens, heads, headDim }: AttentionWorkload): Part {
  const width = heads * headDim;
  const constant = (name: 'q' | 'k' | 'v') => ({
    name,
    shape: [texts, tokens, width],
    values: operand(SEEDS[name], texts * tokens * width),
  });
  return {
    constants: [constant('q'), constant('k'), constant('v')],
    nodes: [
      {
        op: 'MultiHeadAttention',
        inputs: ['q', 'k', 'v'],
        domain: 'com.microsoft',
        attributes: { num_heads: heads },
      },
    ],
    axis: 1,
    rows: tokens,
    shape: [texts, probeRows(tokens).length, width],
  };
}

/** Two products and a softmax. The operands lie as the products want them, heads before tokens, and the keys transposed. */
function attentionInParts({ texts, tokens, heads, headDim }: AttentionWorkload): Part {
  const width = heads * headDim;
  const constant = (name: 'q' | 'k' | 'v', scale: number): OnnxConstant => {
    const values = operand(SEEDS[name], texts * tokens * width);
    const moved = new Float32Array(values.length);
    for (let i = 0; i < values.length; i++) {
      const [d, head] = [i % headDim, Math.floor(i / headDim) % heads];
      const [token, text] = [Math.floor(i / width) % tokens, Math.floor(i / (width * tokens))];
      const group = text * heads + head;
      moved[name === 'k' ? (group * headDim + d) * tokens + token : (group * tokens + token) * headDim + d] =
        values[i]! * scale;
    }
    const rows = name === 'k' ? [headDim, tokens] : [tokens, headDim];
    return { name, shape: [texts, heads, ...rows], values: moved };
  };
  return {
    constants: [constant('q', 1 / Math.sqrt(headDim)), constant('k', 1), constant('v', 1)],
    nodes: [
      { op: 'MatMul', inputs: ['q', 'k'] },
      { op: 'Softmax', inputs: ['#0'], attributes: { axis: 3 } },
      { op: 'MatMul', inputs: ['#1', 'v'] },
      { op: 'Transpose', inputs: ['#2'], lists: { perm: [0, 2, 1, 3] } },
    ],
    axis: 1,
    rows: tokens,
    shape: [texts, probeRows(tokens).length, heads, headDim],
  };
}
