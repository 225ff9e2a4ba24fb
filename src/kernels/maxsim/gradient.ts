/**
 * Of a block, from the winners' positions: dQ gathers the winning passage tokens; dP walks each passage's (query token,
 * winner) list in order, one thread per column, so sums have a fixed order and need no atomics.
 */
import type { Tensor } from '../../tensor/tensor.js';
import { whole } from '../launch/operands.js';
import { shaderOf } from '../launch/shader.js';
import { NONE } from './form.js';
import { type MaxSimBlock, type MaxSimLayout, windowOfTokens } from './layout.js';

/** Adds the gradient of a block's scores to `dVectors`, [T,C]; `fresh`: it is still all zeros. */
export function addBlockGradient(
  vectors: Tensor,
  positions: Tensor,
  layout: MaxSimLayout,
  block: MaxSimBlock,
  dScores: Tensor,
  dVectors: Tensor,
  fresh: boolean,
): void {
  const gpu = vectors.gpu;
  const { cols } = vectors;
  const vec = cols % 4 === 0;
  const unit = vec ? 4 : 1;
  const width = cols / unit;
  const alone = layout.columns !== layout.passages.rows;
  for (const [n, part] of block.parts.entries()) {
    // A query row's first visit writes into a fresh gradient, since reading it first costs a tenth.
    shaderOf('maxSimDQ', { vec, first: fresh && n === 0 }, (form) => {
      const type = form.vec ? 'vec4f' : 'f32';
      return {
        label: 'maxSimDQ',
        params: {
          width: 'u32',
          columns: 'u32',
          firstRow: 'u32',
          skipped: 'u32',
          rows: 'u32',
          firstSlot: 'u32',
          slots: 'u32',
          baseV: 'u32',
          baseOut: 'u32',
        } as const,
        buffers: {
          V: `array<${type}>`,
          A: 'array<u32>',
          DS: 'array<f32>',
          tokens: 'array<vec2u>',
          queries: 'array<vec4u>',
          ioV: `array<${type}>`,
        },
        body: `
@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  if (group.y * groups.x + group.x >= p.rows) { return; }
  let row = p.skipped + group.y * groups.x + group.x;
  let token = tokens[p.firstRow + row];
  let own = row * p.columns + p.firstSlot;
  let scores = token.y * p.columns + p.firstSlot;
  let share = 1.0 / f32(queries[token.y].y - queries[token.y].x);
  for (var c = lane; c < p.width; c += 32u) {
    // Where windows start is taken off outside of loops, modulo 2³²: inside it costs a fourteenth.
    let column = c - p.baseV;
    var sum = ${type}();
    for (var s = 0u; s < p.slots; s++) {
      let at = A[own + s];
      if (at != ${NONE}) { sum += V[at * p.width + column] * (DS[scores + s] * share); }
    }
    ioV[token.x * p.width + c - p.baseOut] ${form.first ? '=' : '+='} sum;
  }
}`,
      };
    }).launch(
      gpu,
      {
        V: windowOfTokens(vectors, block.rows, part.tokens),
        A: whole(positions),
        DS: whole(dScores),
        tokens: whole(layout.tokens),
        queries: whole(layout.queries),
        ioV: windowOfTokens(dVectors, block.rows, block.tokens),
      },
      ({ start, count }, base) => ({
        width,
        columns: layout.columns,
        firstRow: block.firstRow,
        skipped: start,
        rows: count,
        firstSlot: part.firstSlot,
        slots: part.slots,
        baseV: base['V']! / unit,
        baseOut: base['ioV']! / unit,
      }),
      ({ count }) => count,
    );
    // One workgroup a (passage, 8 columns): few columns a workgroup keep many workgroups in flight, since each
    // walks all query tokens in order.
    const groups = Math.ceil(width / 8);
    shaderOf('maxSimDP', { vec }, (form) => {
      const type = form.vec ? 'vec4f' : 'f32';
      return {
        label: 'maxSimDP',
        params: {
          width: 'u32',
          groups: 'u32',
          columns: 'u32',
          firstQuery: 'u32',
          queries: 'u32',
          firstRow: 'u32',
          firstPassage: 'u32',
          passages: 'u32',
          own: 'u32',
          baseV: 'u32',
          baseOut: 'u32',
        } as const,
        buffers: {
          V: `array<${type}>`,
          A: 'array<u32>',
          DS: 'array<f32>',
          queries: 'array<vec4u>',
          ioV: `array<${type}>`,
        },
        body: `
@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = group.y * groups.x + group.x;
  let passage = p.firstPassage + index / p.groups;
  let c = (index % p.groups) * 8u + lane;
  if (c >= p.width || index >= p.passages * p.groups) { return; }
  let queryColumn = c - p.baseV;
  let passageColumn = c - p.baseOut;
  // With own groups only, query ⌊passage / columns⌋ alone scores this passage.
  let first = select(p.firstQuery, passage / p.columns, p.own != 0u);
  let after = select(p.firstQuery + p.queries, first + 1u, p.own != 0u);
  for (var q = first; q < after; q++) {
    let query = queries[q];
    let slot = passage - query.z;
    let row = query.w - p.firstRow;
    let weight = DS[q * p.columns + slot] / f32(max(1u, query.y - query.x));
    for (var t = query.x; t < query.y; t++) {
      let at = A[(row + t - query.x) * p.columns + slot];
      if (at != ${NONE}) { ioV[at * p.width + passageColumn] += V[t * p.width + queryColumn] * weight; }
    }
  }
}`,
      };
    }).launch(
      gpu,
      {
        V: windowOfTokens(vectors, part.passages, block.tokens),
        A: whole(positions),
        DS: whole(dScores),
        queries: whole(layout.queries),
        ioV: windowOfTokens(dVectors, part.passages, part.tokens),
      },
      ({ start, count }, base) => ({
        width,
        groups,
        columns: layout.columns,
        firstQuery: block.firstQuery,
        queries: block.queries,
        firstRow: block.firstRow,
        firstPassage: part.firstPassage + start,
        passages: count,
        own: alone ? 1 : 0,
        baseV: base['V']! / unit,
        baseOut: base['ioV']! / unit,
      }),
      ({ count }) => count * groups,
    );
  }
}
