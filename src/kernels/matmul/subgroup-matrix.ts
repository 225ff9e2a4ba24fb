/** Variants for GPUs with matrix units: one for each of the shapes that an adapter lists, the largest first. */
import type { Capabilities } from '../../gpu/capabilities.js';
import { type Shader, shaderOf } from '../launch.js';
import { type MatmulForm, type MatmulSize, type MatmulVariant, whole } from './form.js';
import { type GPU_PARAMS, tileCount } from './gpu-tiles.js';
import { ENOUGH_WORKGROUPS, partsOfK, runTiles, splitWorkspace, sumShader } from './split-k.js';
import { type MatrixPlan, matrixPlan, matrixShader, usableConfigs } from './subgroup-matrix-shader.js';

/** Matrix units compute 150 to 300 operations on halves in the time of a byte from memory, and are seldom kept fed. */
const BALANCE = 150;

interface MatrixVariant {
  readonly name: string;
  readonly why: string;
  /** Which of the shapes of subgroup matrices that an adapter lists for the form, from the largest. */
  readonly rank: number;
  readonly wide?: boolean;
  readonly split?: boolean;
  /** On a GPU. */
  prior(tiles: number): number;
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

function matrixVariant({
  name,
  why,
  rank,
  wide = false,
  split = false,
  prior,
}: MatrixVariant): MatmulVariant {
  const planFor = (facts: Capabilities, form: MatmulForm): MatrixPlan | undefined => {
    const config = usableConfigs(facts, form)[rank];
    return config && matrixPlan(facts, form, config, wide);
  };
  const extentOf = (plan: MatrixPlan) => ({ ...plan, balance: BALANCE });
  return {
    name,
    why,
    gpuOnly: true,
    supports(facts, form, size) {
      const plan = planFor(facts, form);
      if (!plan || !comesInUnits(form, size, plan)) return false;
      return !split || partsOfK(size, extentOf(plan)).parts > 1;
    },
    prior(facts, form, size) {
      const plan = planFor(facts, form);
      return facts.software || !plan ? -1 : prior(tileCount(size, plan));
    },
    fuses: new Set(['gelu']),
    ...(split && {
      workspace: (facts: Capabilities, form: MatmulForm, size: MatmulSize) =>
        splitWorkspace(size, extentOf(planFor(facts, form)!)),
    }),
    shaders(facts, form): Readonly<Record<string, Pick<Shader<typeof GPU_PARAMS>, 'source'>>> {
      const plan = planFor(facts, form);
      if (!plan) return {};
      const product = planShader(form, plan, false);
      if (!split) return { product };
      return { product, parts: planShader(form, plan, true), sum: sumShader(form) };
    },
    run(gpu, form, size, operands) {
      const plan = planFor(gpu.capabilities, form)!;
      const shader = (partial: boolean) => planShader(form, plan, partial);
      runTiles(gpu, form, size, operands, extentOf(plan), shader, split);
    },
  };
}

export const matrixVariants: readonly MatmulVariant[] = [
  matrixVariant({
    name: 'subgroupMatrix',
    why: 'matrix units, by the largest shape of subgroup matrices that the adapter lists',
    rank: 0,
    prior: () => 10,
  }),
  matrixVariant({
    name: 'subgroupMatrixWide',
    why: 'the same with larger tiles and fewer reads of the operands, for large products',
    rank: 0,
    wide: true,
    prior: (tiles) => (tiles >= ENOUGH_WORKGROUPS ? 11 : 7),
  }),
  matrixVariant({
    name: 'subgroupMatrixSplitK',
    why: 'few tiles and a long K: workgroups share K, and a second kernel adds their sums in order',
    rank: 0,
    split: true,
    prior: () => 12,
  }),
  // NVIDIA lists three shapes for halves, Intel two.
  matrixVariant({
    name: 'subgroupMatrix2',
    why: 'matrix units, by the second shape that the adapter lists',
    rank: 1,
    prior: () => 9,
  }),
  matrixVariant({
    name: 'subgroupMatrix3',
    why: 'matrix units, by the third shape that the adapter lists',
    rank: 2,
    prior: () => 8,
  }),
];
