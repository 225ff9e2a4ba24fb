/** Of the operations that random graphs are made of: losses, and scores of texts that PyTorch can say in a line. */
import * as ops from '../../../src/autograd/index.js';
import type { Tensor } from '../../../src/tensor/tensor.js';
import type { Draw } from './draw.js';
import type { GraphRow } from './rows.js';

/** Of an input that is there and a target of its shape, element by element. */
const elements = (
  name: string,
  ours: (x: Tensor, target: Tensor) => Tensor,
  torch: string,
  { target, apart }: { target?: [number, number]; apart?: string } = {},
): GraphRow => ({
  name,
  draw: (draw) => {
    const x = draw.ranked(1);
    return { x: [x, draw.leaf(x.shape, target)] };
  },
  ours: ([x, y]) => ours(x!, y!),
  torch,
  ...(apart === undefined ? {} : { apart }),
});

/** Rows of vectors, as many as are asked for, all of one size. */
const vectors = (draw: Draw, count: number): Tensor[] => {
  const shape = [2 + draw.below(4), 3 + draw.below(4)];
  return Array.from({ length: count }, () => draw.leaf(shape));
};

const NORMAL = 'F.normalize(x[0]) @ F.normalize(x[1]).T';

export const lossRows: readonly GraphRow[] = [
  elements('mseLoss', ops.mseLoss, 'F.mse_loss(*x)'),
  elements(
    'mseLoss none',
    (x, y) => ops.mseLoss(x, y, { reduction: 'none' }),
    "F.mse_loss(*x, reduction='none')",
  ),
  elements('l1Loss', (x, y) => ops.l1Loss(x, y, { reduction: 'sum' }), "F.l1_loss(*x, reduction='sum')", {
    apart: '(x[0] - x[1]).abs()',
  }),
  elements('huberLoss', (x, y) => ops.huberLoss(x, y, { delta: 0.7 }), 'F.huber_loss(*x, delta=0.7)', {
    apart: '((x[0] - x[1]).abs() - 0.7).abs()',
  }),
  elements('smoothL1Loss', ops.smoothL1Loss, 'F.smooth_l1_loss(*x)', {
    apart: '((x[0] - x[1]).abs() - 1).abs()',
  }),
  {
    name: 'pairwiseDistance',
    draw: (draw) => ({ x: vectors(draw, 2) }),
    ours: ([a, b]) => ops.pairwiseDistance(a!, b!),
    torch: 'F.pairwise_distance(*x)',
  },
  {
    name: 'cdist',
    draw: (draw) => ({ x: vectors(draw, 2) }),
    ours: ([a, b]) => ops.cdist(a!, b!),
    torch: 'torch.cdist(*x)',
  },
  elements('bceWithLogits', ops.bceWithLogits, 'F.binary_cross_entropy_with_logits(*x)', { target: [0, 1] }),
  {
    name: 'bceWithLogits weighted',
    draw: (draw) => {
      const x = draw.ranked(1);
      const columns = [x.cols];
      return {
        x: [x, draw.leaf(x.shape, [0, 1]), draw.leaf(columns, [0.5, 2]), draw.leaf(columns, [0.5, 2])],
      };
    },
    ours: ([x, y, weight, posWeight]) =>
      ops.bceWithLogits(x!, y!, { weight: weight!.detach(), posWeight: posWeight!.detach() }),
    torch: 'F.binary_cross_entropy_with_logits(x[0], x[1], weight=x[2].detach(), pos_weight=x[3].detach())',
  },
  elements(
    'klDivergence',
    (x, y) => ops.klDivergence(x, y, { reduction: 'sum' }),
    "F.kl_div(*x, reduction='sum')",
    { target: [0.1, 1] },
  ),
  elements(
    'klDivergence of logarithms',
    (x, y) => ops.klDivergence(x, y, { logTarget: true, reduction: 'batchmean' }),
    "F.kl_div(*x, log_target=True, reduction='batchmean')",
  ),
  ...(['mean', 'sum', 'none'] as const).map(
    (reduction): GraphRow => ({
      name: `crossEntropy weighted and smoothed, ${reduction}`,
      draw: (draw) => {
        const classes = 2 + draw.below(5);
        const x = draw.leaf([1 + draw.below(3), 1 + draw.below(4), classes]);
        return { x: [x, draw.ids(x.shape.slice(0, -1), classes), draw.leaf([classes], [0.5, 2])] };
      },
      ours: ([x, targets, weight]) =>
        ops.crossEntropy(x!, targets!, {
          weight: weight!.detach(),
          labelSmoothing: 0.2,
          reduction,
          ignoreIndex: 1,
        }),
      torch: `F.cross_entropy(x[0].transpose(1, 2), x[1], x[2].detach(), ignore_index=1, label_smoothing=0.2, reduction='${reduction}')`,
      // Where every row is ignored there is no mean.
      apart: '(x[1] != 1).to(x[0].dtype).max()',
    }),
  ),
  {
    name: 'cosineSimilarity',
    draw: (draw) => {
      const x = draw.leaf([2 + draw.below(3), 2 + draw.below(3), 3]);
      return { x: [x, draw.leaf(x.shape)], a: { axis: draw.axis(x) } };
    },
    ours: ([a, b], { axis }) => ops.cosineSimilarity(a!, b!, axis),
    torch: "F.cosine_similarity(*x, a['axis'])",
  },
  {
    name: 'cosineEmbeddingLoss',
    draw: (draw) => {
      const [a, b] = vectors(draw, 2) as [Tensor, Tensor];
      return { x: [a, b, draw.ids([a.rows], 2)] };
    },
    ours: ([a, b, ids]) => {
      const signs = ops.sub(ops.mul(ops.cast(ids!, 'f32'), 2), 1);
      return ops.cosineEmbeddingLoss(a!, b!, signs, { margin: 0.1 });
    },
    torch: 'F.cosine_embedding_loss(x[0], x[1], 2 * x[2] - 1, 0.1)',
    apart: '(F.cosine_similarity(x[0], x[1]) - 0.1).abs()',
  },
  {
    name: 'multipleNegativesRanking',
    draw: (draw) => ({ x: vectors(draw, 3) }),
    ours: ([a, p, n]) => ops.multipleNegativesRanking(a!, [p!, n!]),
    torch:
      'F.cross_entropy(20 * F.normalize(x[0]) @ F.normalize(torch.cat([x[1], x[2]])).T, torch.arange(len(x[0])))',
  },
  {
    name: 'multipleNegativesRanking symmetric',
    draw: (draw) => ({ x: vectors(draw, 2) }),
    ours: ([a, p]) => ops.multipleNegativesRanking(a!, p!, { symmetric: true, scale: 5 }),
    torch: `sum(F.cross_entropy(m, torch.arange(len(m))) for m in (5 * ${NORMAL}, (5 * ${NORMAL}).T)) / 2`,
  },
  {
    name: 'tripletLoss',
    draw: (draw) => ({ x: vectors(draw, 3) }),
    ours: ([a, p, n]) => ops.tripletLoss(a!, p!, n!),
    torch: 'F.triplet_margin_loss(*x)',
    apart: '(F.pairwise_distance(x[0], x[1]) - F.pairwise_distance(x[0], x[2]) + 1).abs()',
  },
  {
    name: 'tripletLoss cosine',
    draw: (draw) => ({ x: vectors(draw, 3) }),
    ours: ([a, p, n]) => ops.tripletLoss(a!, p!, n!, { distance: 'cosine', margin: 0.5 }),
    torch: 'F.relu(F.cosine_similarity(x[0], x[2]) - F.cosine_similarity(x[0], x[1]) + 0.5).mean()',
    apart: '(F.cosine_similarity(x[0], x[2]) - F.cosine_similarity(x[0], x[1]) + 0.5).abs()',
  },
];
