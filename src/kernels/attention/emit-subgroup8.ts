/**
 * Attention for subgroups of 8 lanes: each lane owns a row (or two, 8 apart; a query, in dK/dV a key) and walks the other
 * side in blocks of 8, of which it loads one row; the lanes hand the components of those rows round. No workgroup memory,
 * no barriers. Rows are read from textures, from which lavapipe loads several times faster than from buffers.
 */
import type { Capabilities } from '../../gpu/capabilities.js';
import { bytesPerElement } from '../../tensor/tensor.js';
import { store4 } from '../launch/formats.js';
import { type AttentionForm, type AttentionKernels, forwardBuffers, gradientBuffers } from './form.js';
import {
  ALIGNED_ROWS,
  type AttentionSize,
  AXES,
  BLOCK,
  DROPOUT,
  entry,
  KEY,
  LOG2E,
  LOWEST,
  PARAMS,
  QUERY,
  range,
  VALUE,
} from './layout.js';

/** How textures are read: sampled ones with a level, storage ones without, in the format of their texels. */
type Reads = 'sampled textures' | 'storage textures';

const textureType = (reads: Reads, { dtype }: AttentionForm) =>
  reads === 'sampled textures'
    ? 'texture_2d<f32>'
    : `texture_storage_2d<${dtype === 'f16' ? 'rgba16float' : 'rgba32float'}, read>`;

/** Two rows a lane halve the loads, but from 64 components on their registers and code cost more than that. */
const rowsPerLane = (headDim: number) => (headDim <= 32 ? 2 : 1);

/**
 * WGSL: the value of lane j. Shuffles, since a broadcast from a constant lane becomes scalar code on newer drivers; lanes are
 * counted from this lane's own eight, so that the compiler does not turn it back into one.
 */
const ofLane = (value: string, j: number) => `subgroupShuffle(${value}, lane0 + ${j}u)`;

/** The pieces of code that the three kernels share, for one form. `r` counts a lane's rows, `j` those of the block. */
function pieces({ headDim, dtype, dropout }: AttentionForm, reads: Reads) {
  const d4 = headDim / 4;
  const rows = range(rowsPerLane(headDim));
  const components = range(d4);
  const lines = (parts: string[], join = '\n  ') => parts.join(join);

  const load = (source: 'QKV' | 'DO', row: string, column: string) =>
    `textureLoad(${source}, vec2u(${column}, ${row})${reads === 'sampled textures' ? ', 0' : ''})`;

  /** Declares `name{r}_{e}`, the vec4s of a lane's rows. */
  const registers = (name: string, initial: (r: number, e: number) => string, kind: 'let' | 'var' = 'var') =>
    lines(
      rows.map((r) =>
        lines(
          components.map((e) => `${kind} ${name}${r}_${e} = ${initial(r, e)};`),
          ' ',
        ),
      ),
    );
  /** Declares `name{r}_{j}`, a number for each of a lane's rows and each row of the block. */
  const scalars = (name: string, initial: (r: number, j: number) => string) =>
    lines(
      rows.map((r) =>
        lines(
          range(BLOCK).map((j) => `var ${name}${r}_${j} = ${initial(r, j)};`),
          ' ',
        ),
      ),
      '\n    ',
    );
  const eachPair = (code: (r: number, j: number) => string) =>
    lines(
      range(BLOCK).map((j) =>
        lines(
          rows.map((r) => code(r, j)),
          ' ',
        ),
      ),
      '\n    ',
    );

  /**
   * Every lane loads its row of the block, vec4 by vec4, and every component b of every row j reaches all lanes:
   * sum = fma(factor, b, sum) for the (sum, factor) that `term` names.
   */
  const handRound = (
    source: 'QKV' | 'DO',
    column: string,
    term: (r: number, e: number, j: number, x: string) => [sum: string, factor: string],
  ) => {
    const code: string[] = [];
    for (const e of components) {
      code.push(`{ let v = ${load(source, 'other', `${column} + ${e}u`)};`);
      for (const j of range(BLOCK))
        for (const x of AXES) {
          code.push(`{ let b = ${ofLane(`v.${x}`, j)};`);
          for (const r of rows) {
            const [sum, factor] = term(r, e, j, x);
            code.push(`${sum} = fma(${factor}, b, ${sum});`);
          }
          code.push('}');
        }
      code.push('}');
    }
    return lines(code, '\n    ');
  };

  return {
    d4,
    rows,
    components,
    load,
    registers,
    scalars,
    eachPair,
    row: (r: number) => `min(first + ${8 * r}u + lane, end - 1u)`,
    exists: (r: number) => `first + ${8 * r}u + lane < end`,
    /** `target{r}_{j}` += own{r} · row j of the block. */
    dot: (target: string, own: string, source: 'QKV' | 'DO', column: string) =>
      handRound(source, column, (r, e, j, x) => [`${target}${r}_${j}`, `${own}${r}_${e}.${x}`]),
    /** `target{r}_{e}` += weight{r}_{j} · row j of the block. */
    axpy: (target: string, weight: string, source: 'QKV' | 'DO', column: string) =>
      handRound(source, column, (r, e, j, x) => [`${target}${r}_${e}.${x}`, `${weight}${r}_${j}`]),
    head: `
${dropout ? DROPOUT : ''}
${entry(8, 'subgroup_invocation_id', d4)}
  let lane0 = lane & 0xfffffff8u;`,
    /** Over the blocks of the other side: `other` is the lane's own row of the block. */
    walk: `for (var block = begin; block < end; block += ${BLOCK}u) {
    let other = min(block + lane, end - 1u);`,
    store: (buffer: string, index: string, value: string) => store4(dtype, buffer, index, value),
    /** Multiplies `name{r}_{j}` by the mask of queries = own rows, keys = rows of the block. */
    dropKeys: (name: string) =>
      !dropout
        ? ''
        : lines(
            rows.flatMap((r) =>
              [0, 4].map(
                (n) => `{
      let bits = randomBlock(row${r} - begin, block - begin + ${n}u, head, begin);
      let halves = select(bits & vec4u(0xffffu), bits >> vec4u(16u), ((row${r} - begin) & 1u) == 1u);
      ${lines(
        range(4).map((x) => `${name}${r}_${n + x} *= keep(halves.${AXES[x]});`),
        ' ',
      )}
    }`,
              ),
            ),
            '\n    ',
          ),
    /** Declares `keep{r}_{j}`, the mask of keys = own rows, queries = rows of the block. */
    dropQueries: !dropout
      ? ''
      : lines(
          rows.flatMap((r) =>
            [0, 2, 4, 6].map(
              (n) =>
                `let bits${r}_${n} = randomBlock(block - begin + ${n}u, row${r} - begin, head, begin)[(row${r} - begin) & 3u]; let keep${r}_${n} = keep(bits${r}_${n} & 0xffffu); let keep${r}_${n + 1} = keep(bits${r}_${n} >> 16u);`,
            ),
          ),
          '\n    ',
        ),
  };
}

function forward(form: AttentionForm, reads: Reads) {
  const w = pieces(form, reads);
  return {
    label: 'attention',
    params: PARAMS,
    buffers: forwardBuffers(textureType(reads, form), form),
    subgroups: true,
    body: `${w.head}
  ${w.rows.map((r) => `let row${r} = ${w.row(r)}; var m${r} = ${LOWEST}; var l${r} = 0.0;`).join('\n  ')}
  ${w.registers('q', (r, e) => `${w.load('QKV', `row${r}`, `${QUERY} + ${e}u`)} * (p.scale * ${LOG2E})`, 'let')}
  ${w.registers('o', () => 'vec4f()')}
  ${w.walk}
    ${w.scalars('s', () => '0.0')}
    ${w.dot('s', 'q', 'QKV', KEY)}
    ${w.rows
      .map(
        (r) => `var top${r} = m${r};
    ${range(BLOCK)
      .map(
        (j) =>
          `s${r}_${j} = select(p.minusInfinity, s${r}_${j}, block + ${j}u < end); top${r} = max(top${r}, s${r}_${j});`,
      )
      .join('\n    ')}
    let shrink${r} = exp2(m${r} - top${r});
    m${r} = top${r};
    l${r} *= shrink${r};
    ${range(BLOCK)
      .map((j) => `s${r}_${j} = exp2(s${r}_${j} - top${r}); l${r} += s${r}_${j};`)
      .join('\n    ')}
    ${w.components.map((e) => `o${r}_${e} *= shrink${r};`).join(' ')}`,
      )
      .join('\n    ')}
    ${w.dropKeys('s')}
    ${w.axpy('o', 's', 'QKV', VALUE)}
  }
  ${w.rows
    .map(
      (r) => `if (${w.exists(r)}) {
    ${w.components.map((e) => w.store('outO', `row${r} * p.hidden4 + column + ${e}u`, `o${r}_${e} / l${r}`)).join(' ')}
    outL[row${r} * p.heads + head] = m${r} + log2(l${r});
  }`,
    )
    .join('\n  ')}
}`,
  };
}

function dq(form: AttentionForm, reads: Reads) {
  const w = pieces(form, reads);
  return {
    label: 'attentionDQ',
    params: PARAMS,
    buffers: gradientBuffers(textureType(reads, form), form),
    subgroups: true,
    body: `${w.head}
  ${w.rows
    .map(
      (r) =>
        `let row${r} = ${w.row(r)}; let lse${r} = L[row${r} * p.heads + head]; let delta${r} = delta[row${r} * p.heads + head];`,
    )
    .join('\n  ')}
  ${w.registers('q', (r, e) => `${w.load('QKV', `row${r}`, `${QUERY} + ${e}u`)} * (p.scale * ${LOG2E})`, 'let')}
  ${w.registers('g', (r, e) => w.load('DO', `row${r}`, `column + ${e}u`), 'let')}
  ${w.registers('d', () => 'vec4f()')}
  ${w.walk}
    ${w.scalars('s', (r) => `-lse${r}`)}
    ${w.dot('s', 'q', 'QKV', KEY)}
    ${w.scalars('dp', () => '0.0')}
    ${w.dot('dp', 'g', 'QKV', VALUE)}
    ${w.dropKeys('dp')}
    ${w.eachPair(
      (r, j) =>
        `s${r}_${j} = select(0.0, exp2(s${r}_${j}) * (dp${r}_${j} - delta${r}) * p.scale, block + ${j}u < end);`,
    )}
    ${w.axpy('d', 's', 'QKV', KEY)}
  }
  ${w.rows
    .map(
      (r) =>
        `if (${w.exists(r)}) { ${w.components
          .map((e) => w.store('outD', `row${r} * p.stride + ${QUERY} + ${e}u`, `d${r}_${e}`))
          .join(' ')} }`,
    )
    .join('\n  ')}
}`,
  };
}

function dkv(form: AttentionForm, reads: Reads) {
  const w = pieces(form, reads);
  const kept = form.dropout ? (r: number, j: number) => ` * keep${r}_${j}` : () => '';
  return {
    label: 'attentionDKV',
    params: PARAMS,
    buffers: gradientBuffers(textureType(reads, form), form),
    subgroups: true,
    body: `${w.head}
  ${w.rows.map((r) => `let row${r} = ${w.row(r)};`).join('\n  ')}
  ${w.registers('k', (r, e) => `${w.load('QKV', `row${r}`, `${KEY} + ${e}u`)} * (p.scale * ${LOG2E})`, 'let')}
  ${w.registers('v', (r, e) => `${w.load('QKV', `row${r}`, `${VALUE} + ${e}u`)}`, 'let')}
  ${w.registers('dk', () => 'vec4f()')}
  ${w.registers('dv', () => 'vec4f()')}
  ${w.walk}
    let lse = L[other * p.heads + head]; let rowDelta = delta[other * p.heads + head];
    ${w.scalars('s', () => '0.0')}
    ${w.dot('s', 'k', 'QKV', QUERY)}
    ${w.dropQueries}
    ${w.scalars('pr', (r, j) => `select(0.0, exp2(s${r}_${j} - ${ofLane('lse', j)}), block + ${j}u < end)`)}
    ${w.scalars('w', (r, j) => `pr${r}_${j}${kept(r, j)}`)}
    ${w.axpy('dv', 'w', 'DO', 'column')}
    ${w.scalars('dp', () => '0.0')}
    ${w.dot('dp', 'v', 'DO', 'column')}
    ${w.eachPair((r, j) => `pr${r}_${j} *= (dp${r}_${j}${kept(r, j)} - ${ofLane('rowDelta', j)}) * p.scale;`)}
    ${w.axpy('dk', 'pr', 'QKV', QUERY)}
  }
  ${w.rows
    .map(
      (r) =>
        `if (${w.exists(r)}) { ${w.components
          .map(
            (e) =>
              `${w.store('outD', `row${r} * p.stride + ${KEY} + ${e}u`, `dk${r}_${e}`)} ${w.store('outD', `row${r} * p.stride + ${VALUE} + ${e}u`, `dv${r}_${e}`)}`,
          )
          .join(' ')} }`,
    )
    .join('\n  ')}
}`,
  };
}

function supports(facts: Capabilities, { headDim, dtype }: AttentionForm, size: AttentionSize): boolean {
  const limit = facts.maxTextureSize;
  return (
    facts.subgroupMinSize >= 8 &&
    headDim <= 128 &&
    // Rows of a texture are copied in multiples of 256 bytes.
    (size.hidden * bytesPerElement[dtype]) % 256 === 0 &&
    size.longest + ALIGNED_ROWS <= limit &&
    (3 * size.hidden) / 4 <= limit
  );
}

const kernels = (
  name: string,
  why: string,
  reads: Reads,
  prior: AttentionKernels['prior'],
): AttentionKernels => ({
  name,
  why,
  reads,
  plan: () => ({}),
  rowsPerTile: ({ headDim }) => 8 * rowsPerLane(headDim),
  supports,
  // They would waste most of the wave of a GPU.
  prior: (facts, form, part) =>
    facts.software && facts.subgroupMinSize === 8 ? prior(facts, form, part) : 0,
  parts: {
    forward: (form) => forward(form, reads),
    dq: (form) => dq(form, reads),
    dkv: (form) => dkv(form, reads),
  },
});

export const subgroup8 = kernels(
  'subgroup8',
  'lavapipe: 8 lanes hand rows round by themselves, and loads from textures cost a fraction of those from buffers',
  'sampled textures',
  () => 2,
);

/**
 * Against sampled ones, 8×128 tokens, Mesa 25.0.7 and 26.2.6 on an EPYC with AVX-512: forward 1.25–1.8 times as fast, the
 * gradient 0.9–1.0 (32 components, two rows a lane) and 1.25–1.4 (64, one row); with AVX2 that one was 0.8.
 */
export const subgroup8Storage = kernels(
  'subgroup8-storage',
  'the same from storage textures, whose loads compute no level of detail',
  'storage textures',
  ({ cpu }, { headDim }, part) =>
    part === 'forward' || (cpu?.avx512 === true && rowsPerLane(headDim) === 1) ? 3 : 1.5,
);
