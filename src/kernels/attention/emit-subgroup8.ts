/**
 * Attention for subgroups of 8 lanes: each lane owns a row (or two, 8 apart; a query, in dK/dV a key) and walks the other
 * side in blocks of 8, of which it loads one row; the lanes hand the components of those rows round. No workgroup memory,
 * no barriers. Rows are read from textures, from which lavapipe loads several times faster than from buffers.
 */
import type { Capabilities } from '../../gpu/capabilities.js';
import { store4 } from '../launch/formats.js';
import {
  type AttentionForm,
  type AttentionKernels,
  forwardBuffers,
  gradientBuffers,
  type Part,
} from './form.js';
import {
  ALIGNED_ROWS,
  type AttentionSize,
  AXES,
  BLOCK,
  DROPOUT,
  foldOfSize,
  LOG2E,
  LOWEST,
  range,
} from './layout.js';
import { divisor, logSum, type Place, paramsOf, sidesOf } from './sides.js';

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
function pieces(form: AttentionForm, part: Part, reads: Reads) {
  const { headDim, dtype, dropout, bias } = form;
  const sides = sidesOf(form, part);
  const { from, to } = sides;
  const d4 = headDim / 4;
  const rows = range(rowsPerLane(headDim));
  const components = range(d4);
  const lines = (parts: string[], join = '\n  ') => parts.join(join);

  const load = ({ buffer, column, stride }: Place, row: string, e: number) => {
    // Where a row of the texture has several side by side.
    const [shift, y] = form.folded
      ? [`(${row} & foldMask) * (${stride}) + `, `${row} >> p.foldShift`]
      : ['', row];
    return `textureLoad(${buffer}, vec2u(${shift}${column} + ${e}u, ${y})${reads === 'sampled textures' ? ', 0' : ''})`;
  };

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
    place: Place,
    term: (r: number, e: number, j: number, x: string) => [sum: string, factor: string],
  ) => {
    const code: string[] = [];
    for (const e of components) {
      code.push(`{ let v = ${load(place, 'other', e)};`);
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
    dot: (target: string, own: string, place: Place) =>
      handRound(place, (r, e, j, x) => [`${target}${r}_${j}`, `${own}${r}_${e}.${x}`]),
    /** `target{r}_{e}` += weight{r}_{j} · row j of the block. */
    axpy: (target: string, weight: string, place: Place) =>
      handRound(place, (r, e, j, x) => [`${target}${r}_${e}.${x}`, `${weight}${r}_${j}`]),
    ...sides,
    head: `
${dropout ? DROPOUT : ''}
${sides.entry(8, 'subgroup_invocation_id')}
  let lane0 = lane & 0xfffffff8u;${form.folded ? '\n  let foldMask = (1u << p.foldShift) - 1u;' : ''}`,
    /** Whether own row r and row j of the block see each other. */
    sees: (r: number, j: number) => `block + ${j}u < ${to}${sides.sees(`row${r}`, `block + ${j}u`)}`,
    /** Reads the bias, in base 2, for `start`: in a loop, since 8 loads side by side compile for long. */
    readBias: bias
      ? lines(
          rows.map(
            (r) => `var bias${r}: array<f32, ${BLOCK}>;
    for (var j = 0u; j < p.block; j++) { bias${r}[j] = ${sides.biasAt(`row${r}`, `min(block + j, ${to} - 1u)`)} * ${LOG2E}; }`,
          ),
          '\n    ',
        )
      : '',
    /** What a score begins with: the bias or 0. */
    start: (r: number, j: number) => (bias ? `bias${r}[${j}]` : '0.0'),
    /** Over the blocks of the other side: `other` is the lane's own row of the block. */
    walk: `${sides.open}for (var block = ${sides.first()}; block < ${sides.last(8 * rows.length)}; block += ${BLOCK}u) {
    let other = min(block + lane, ${to} - 1u);`,
    store: (buffer: string, index: string, value: string) => store4(dtype, buffer, index, value),
    /** Multiplies `name{r}_{j}` by the mask of queries = own rows, keys = rows of the block. */
    dropKeys: (name: string) =>
      !dropout
        ? ''
        : lines(
            rows.flatMap((r) =>
              [0, 4].map(
                (n) => `{
      let bits = randomBlock(row${r} - begin, block - ${from} + ${n}u, head, begin);
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
                `let bits${r}_${n} = randomBlock(block - ${from} + ${n}u, row${r} - begin, head, ${from})[(row${r} - begin) & 3u]; let keep${r}_${n} = keep(bits${r}_${n} & 0xffffu); let keep${r}_${n + 1} = keep(bits${r}_${n} >> 16u);`,
            ),
          ),
          '\n    ',
        ),
  };
}

function forward(form: AttentionForm, reads: Reads) {
  const w = pieces(form, 'forward', reads);
  return {
    label: 'attention',
    params: paramsOf(form),
    buffers: forwardBuffers(textureType(reads, form), form),
    subgroups: true,
    body: `${w.head}
  ${w.rows.map((r) => `let row${r} = ${w.row(r)}; var m${r} = ${LOWEST}; var l${r} = 0.0;`).join('\n  ')}
  ${w.registers('q', (r, e) => `${w.load(w.Q, `row${r}`, e)} * (p.scale * ${LOG2E})`, 'let')}
  ${w.registers('o', () => 'vec4f()')}
  ${w.walk}
    ${w.readBias}${w.scalars('s', w.start)}
    ${w.dot('s', 'q', w.K)}
    ${w.rows
      .map(
        (r) => `var top${r} = m${r};
    ${range(BLOCK)
      .map(
        (j) =>
          `s${r}_${j} = select(p.minusInfinity, s${r}_${j}, ${w.sees(r, j)}); top${r} = max(top${r}, s${r}_${j});`,
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
    ${w.axpy('o', 's', w.V)}
  }
  ${w.rows
    .map(
      (r) => `if (${w.exists(r)}) {
    ${w.components.map((e) => w.store('outO', `row${r} * ${w.O.stride} + ${w.O.column} + ${e}u`, `o${r}_${e} / ${divisor(`l${r}`)}`)).join(' ')}
    outL[row${r} * ${w.heads} + head] = ${logSum(`m${r}`, `l${r}`)};
  }`,
    )
    .join('\n  ')}
}`,
  };
}

function dq(form: AttentionForm, reads: Reads) {
  const w = pieces(form, 'dq', reads);
  return {
    label: 'attentionDQ',
    params: paramsOf(form),
    buffers: gradientBuffers(textureType(reads, form), form, 'dq'),
    subgroups: true,
    body: `${w.head}
  ${w.rows
    .map(
      (r) =>
        `let row${r} = ${w.row(r)}; let lse${r} = ${w.lse(`row${r}`)}; let delta${r} = ${w.delta(`row${r}`)};`,
    )
    .join('\n  ')}
  ${w.registers('q', (r, e) => `${w.load(w.Q, `row${r}`, e)} * (p.scale * ${LOG2E})`, 'let')}
  ${w.registers('g', (r, e) => w.load(w.DO, `row${r}`, e), 'let')}
  ${w.registers('d', () => 'vec4f()')}
  ${w.walk}
    ${w.readBias}${w.scalars('s', (r, j) => (form.bias ? `${w.start(r, j)} - lse${r}` : `-lse${r}`))}
    ${w.dot('s', 'q', w.K)}
    ${w.scalars('dp', () => '0.0')}
    ${w.dot('dp', 'g', w.V)}
    ${w.dropKeys('dp')}
    ${w.eachPair(
      (r, j) =>
        `s${r}_${j} = select(0.0, exp2(s${r}_${j}) * (dp${r}_${j} - delta${r}) * p.scale, ${w.sees(r, j)});`,
    )}
    ${w.axpy('d', 's', w.K)}
  }
  ${w.rows
    .map(
      (r) =>
        `if (${w.exists(r)}) { ${w.components
          .map((e) => w.store(w.dQ.buffer, `row${r} * ${w.dQ.stride} + ${w.dQ.column} + ${e}u`, `d${r}_${e}`))
          .join(' ')} }`,
    )
    .join('\n  ')}
}`,
  };
}

function dkv(form: AttentionForm, reads: Reads) {
  const w = pieces(form, 'dkv', reads);
  const kept = form.dropout ? (r: number, j: number) => ` * keep${r}_${j}` : () => '';
  return {
    label: 'attentionDKV',
    params: paramsOf(form),
    buffers: gradientBuffers(textureType(reads, form), form, 'dkv'),
    subgroups: true,
    body: `${w.head}
  ${w.rows.map((r) => `let row${r} = ${w.row(r)};`).join('\n  ')}
  ${w.registers('k', (r, e) => `${w.load(w.K, `row${r}`, e)} * (p.scale * ${LOG2E})`, 'let')}
  ${w.registers('v', (r, e) => `${w.load(w.V, `row${r}`, e)}`, 'let')}
  ${w.registers('dk', () => 'vec4f()')}
  ${w.registers('dv', () => 'vec4f()')}
  ${w.walk}
    let lse = ${w.lse('other')}; let rowDelta = ${w.delta('other')};
    ${w.readBias}${w.scalars('s', w.start)}
    ${w.dot('s', 'k', w.Q)}
    ${w.dropQueries}
    ${w.scalars('pr', (r, j) => `select(0.0, exp2(s${r}_${j} - ${ofLane('lse', j)}), ${w.sees(r, j)})`)}
    ${w.scalars('w', (r, j) => `pr${r}_${j}${kept(r, j)}`)}
    ${w.axpy('dv', 'w', w.DO)}
    ${w.scalars('dp', () => '0.0')}
    ${w.dot('dp', 'v', w.DO)}
    ${w.eachPair((r, j) => `pr${r}_${j} *= (dp${r}_${j}${kept(r, j)} - ${ofLane('rowDelta', j)}) * p.scale;`)}
    ${w.axpy('dk', 'pr', w.Q)}
  }${w.close}
  ${w.rows
    .map(
      (r) =>
        `if (${w.exists(r)}) { ${w.components
          .map(
            (e) =>
              `${w.store(w.dK.buffer, `row${r} * ${w.dK.stride} + ${w.dK.column} + ${e}u`, `dk${r}_${e}`)} ${w.store(w.dV.buffer, `row${r} * ${w.dV.stride} + ${w.dV.column} + ${e}u`, `dv${r}_${e}`)}`,
          )
          .join(' ')} }`,
    )
    .join('\n  ')}
}`,
  };
}

function supports(
  facts: Capabilities,
  { headDim, dtype, apart }: AttentionForm,
  size: AttentionSize,
): boolean {
  const limit = facts.maxTextureSize;
  const { hidden, keyHidden = hidden, longest, longestKeys = longest } = size;
  const fold = foldOfSize(dtype, size);
  return (
    facts.subgroupMinSize >= 8 &&
    headDim <= 128 &&
    Math.max(longest, longestKeys) + ALIGNED_ROWS <= limit &&
    (Math.max((apart ? 1 : 3) * hidden, keyHidden) / 4) * fold <= limit
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
