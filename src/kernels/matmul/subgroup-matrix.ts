/** Variants for GPUs with matrix units: one for each of the shapes that an adapter lists, the largest first. */
import type { Capabilities } from '../../gpu/capabilities.js';
import { type Shader, shaderOf } from '../launch.js';
import { type MatmulForm, type MatmulSize, type MatmulVariant, whole } from './form.js';
import type { GPU_PARAMS } from './gpu-tiles.js';
import { partsOfK, runTiles, splitWorkspace, sumShader } from './split-k.js';
import { type MatrixPlan, matrixPlan, matrixShader, usableConfigs } from './subgroup-matrix-shader.js';

/** Shapes of subgroup matrices, by size, that have a variant of their own; NVIDIA lists three for halves. */
const RANKS = 3;

function planFor(facts: Capabilities, form: MatmulForm, rank: number): MatrixPlan | undefined {
  const config = usableConfigs(facts, form)[rank];
  return config && matrixPlan(facts, form, config);
}

/** Rows of the operands are read in units of 16 bytes as they will lie in workgroup memory, those of C four values at a time. */
function comesInUnits(
  { transA, transB }: MatmulForm,
  { M, N, K }: MatmulSize,
  { factors }: MatrixPlan,
): boolean {
  const unit = factors === 'f16' ? 8 : 4;
  return K > 0 && whole(N) && (transA ? M : K) % unit === 0 && (transB ? K : N) % unit === 0;
}

export const planShader = (form: MatmulForm, plan: MatrixPlan, partial: boolean): Shader<typeof GPU_PARAMS> =>
  shaderOf(`matmul.subgroupMatrix${partial ? '.part' : ''}`, { ...form, ...plan }, (all) =>
    matrixShader(all, all, partial),
  );

function matrixVariant(rank: number, split: boolean): MatmulVariant {
  const which = ['', '2', '3'][rank]!;
  return {
    name: `subgroupMatrix${which}${split ? 'SplitK' : ''}`,
    why: split
      ? 'few tiles and a long K on matrix units: workgroups share K, their sums are added in order'
      : `matrix units, by the ${['largest', 'second', 'third'][rank]} shape of subgroup matrices that the adapter lists`,
    gpuOnly: true,
    supports(facts, form, size) {
      const plan = planFor(facts, form, rank);
      return (
        plan !== undefined && comesInUnits(form, size, plan) && (!split || partsOfK(size, plan).parts > 1)
      );
    },
    prior: (facts) => (facts.software ? -1 : (split ? 20 : 10) - rank),
    fuses: new Set(['gelu']),
    ...(split && {
      workspace: (facts: Capabilities, form: MatmulForm, size: MatmulSize) =>
        splitWorkspace(size, planFor(facts, form, rank)!),
    }),
    shaders(facts, form): Readonly<Record<string, Pick<Shader<typeof GPU_PARAMS>, 'source'>>> {
      const plan = planFor(facts, form, rank);
      if (!plan) return {};
      const product = planShader(form, plan, false);
      if (!split) return { product };
      return { product, parts: planShader(form, plan, true), sum: sumShader(form) };
    },
    run(gpu, form, size, operands) {
      const plan = planFor(gpu.capabilities, form, rank)!;
      runTiles(gpu, form, size, operands, plan, (partial) => planShader(form, plan, partial), split);
    },
  };
}

export const matrixVariants: readonly MatmulVariant[] = Array.from({ length: RANKS }, (_, rank) => [
  matrixVariant(rank, false),
  matrixVariant(rank, true),
]).flat();
