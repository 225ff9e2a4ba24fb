/** Variants for GPUs with matrix units: one for each of the shapes that an adapter lists, the largest first. */
import { shaderOf } from '../launch/shader.js';
import type { MatmulForm, MatmulVariant } from './form.js';
import { type GpuVariant, gpuVariant, type Tiling } from './gpu-variant.js';
import { ENOUGH_WORKGROUPS } from './split-k.js';
import {
  type MatrixPlan,
  matrixPlan,
  matrixShader,
  perUnit,
  usableConfigs,
} from './subgroup-matrix-shader.js';

/** Matrix units compute 150 to 300 operations on halves in the time of a byte from memory, and are seldom kept fed. */
const BALANCE = 150;

interface MatrixVariant extends Omit<GpuVariant, 'tiling'> {
  /** Which of the shapes of subgroup matrices that an adapter lists for the form, from the largest. */
  readonly rank: number;
  readonly wide?: boolean;
}

export const matrixTiling = (form: MatmulForm, plan: MatrixPlan): Tiling => ({
  rows: plan.rows,
  columns: plan.columns,
  balance: BALANCE,
  unit: perUnit(plan.factors),
  shader: (partial) =>
    shaderOf(`matmul.subgroupMatrix${partial ? '.part' : ''}`, { ...form, ...plan }, (all) =>
      matrixShader(all, all, partial),
    ),
});

const matrixVariant = ({ rank, wide = false, ...variant }: MatrixVariant): MatmulVariant =>
  gpuVariant({
    ...variant,
    tiling(facts, form) {
      const config = usableConfigs(facts, form)[rank];
      const plan = config && matrixPlan(facts, form, config, wide);
      return plan && matrixTiling(form, plan);
    },
  });

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
