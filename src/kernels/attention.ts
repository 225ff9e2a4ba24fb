/**
 * Fused attention over packed sequences, forward and backward (FlashAttention-2, Dao 2023, algorithms 1 and 2):
 * online softmax that keeps only the log-sum-exp per query; backward recomputes probabilities, one kernel for dQ
 * and one for dK and dV, no atomics, never a T×T matrix. Softmax runs in base 2 with log2(e) folded into q.
 *
 * qkv is one [T, 3·H] tensor: query, key and value of a token side by side, heads within each.
 * One lane owns a row (a query; in dK/dV a key) and walks the other side in blocks of 8.
 *
 * Variants
 *   subgroup8  lavapipe: each lane loads one of the 8 rows of a block and the lanes hand components round. It
 *              reads through textures, which there run 1.5× faster and compile 3× faster than storage buffers
 *              (spec wgsl-on-lavapipe §0.2, §C).
 *   workgroup  elsewhere, and where rows do not fit a texture: 64 rows a workgroup, the block of 8 staged in
 *              workgroup memory.
 */
import { ShapeError } from '../errors.js';
import type { Gpu, RowTexture } from '../gpu/gpu.js';
import { floats, integer, probability, requireBeside, signature, wholeNumber } from '../tensor/operands.js';
import { bytesPerElement, Tensor } from '../tensor/tensor.js';
import {
  FLAT_MAIN,
  type FloatDType,
  flatGrid,
  floatDType,
  load4,
  shaderOf,
  store4,
  vec4Type,
} from './launch.js';
import { dropMask } from './pointwise.js';
import { type RandomStream, THREEFRY } from './random.js';
import { usesSubgroup8 } from './variants.js';

/** Tiles of consecutive rows of one sequence: [tiles, 4] u32 = (begin, end, first, sequence). */
export interface TileSource {
  readonly gpu: Gpu;
  /** Tokens of all sequences. */
  readonly tokens: number;
  tiles(rowsPerTile: number): Tensor;
}

export interface AttentionDropout extends RandomStream {
  readonly probability: number;
}

const BLOCK = 8;
const AXES = ['x', 'y', 'z', 'w'] as const;
const range = (n: number) => Array.from({ length: n }, (_, i) => i);

const PARAMS = {
  stride: 'u32',
  hidden4: 'u32',
  tokens: 'u32',
  scale: 'f32',
  threshold: 'u32',
  keepScale: 'f32',
  seed: 'u32',
  stream: 'u32',
  firstRow: 'u32',
  block: 'u32',
  minusInfinity: 'f32',
} as const;

interface Variant {
  readonly subgroup8: boolean;
  /** Rows a lane owns; 8 apart. */
  readonly groups: number;
  readonly rowsPerTile: number;
  /** Of qkv, its gradient, and the result. */
  readonly dtype: FloatDType;
}

function variantOf(gpu: Gpu, headDim: number, tokens: number, hidden: number, dtype: FloatDType): Variant {
  const limit = gpu.capabilities.maxTextureSize;
  if (
    !usesSubgroup8(gpu, 'attention') ||
    headDim > 64 ||
    // Rows of a texture are copied in multiples of 256 bytes.
    (hidden * bytesPerElement[dtype]) % 256 !== 0 ||
    tokens > limit ||
    (3 * hidden) / 4 > limit
  )
    return { subgroup8: false, groups: 1, rowsPerTile: 64, dtype };
  // Two rows a lane halve the loads, but from 64 on their registers and code size cost more than that.
  const groups = headDim <= 32 ? 2 : 1;
  return { subgroup8: true, groups, rowsPerTile: 8 * groups, dtype };
}

/** WGSL for the pieces that all three kernels share, for one head dimension. */
class Writer {
  readonly d4: number;
  constructor(
    readonly headDim: number,
    readonly variant: Variant,
    readonly dropout: boolean,
  ) {
    this.d4 = headDim / 4;
  }

  get groups(): number[] {
    return range(this.variant.groups);
  }

  /** Declares `name{r}_{e}` vec4 registers for each row group. */
  registers(name: string, initial: (r: number, e: number) => string, kind: 'let' | 'var' = 'var'): string {
    return this.groups
      .map((r) =>
        range(this.d4)
          .map((e) => `${kind} ${name}${r}_${e} = ${initial(r, e)};`)
          .join(' '),
      )
      .join('\n  ');
  }

  /** One vec4 of a row of QKV or DO. */
  load(buffer: 'QKV' | 'DO', row: string, column: string): string {
    if (this.variant.subgroup8) return `textureLoad(${buffer}, vec2u(${column}, ${row}), 0)`;
    const index = `(${row}) * ${buffer === 'QKV' ? 'p.stride' : 'p.hidden4'} + ${column}`;
    return load4(this.variant.dtype, buffer, index);
  }

  /** One vec4 to a row of the result. */
  store(buffer: string, index: string, value: string): string {
    return store4(this.variant.dtype, buffer, index, value);
  }

  /** Brings the block's 8 rows into workgroup memory. */
  stage(shared: string, buffer: 'QKV' | 'DO', column: string): string {
    if (this.variant.subgroup8) return '';
    // 64 threads copy 8 rows; rows beyond the sequence repeat its last one and are masked later.
    return `for (var i = lane; i < ${BLOCK * this.d4}u; i += 64u) {
      ${shared}[i] = ${this.load(buffer, `min(block + i / ${this.d4}u, end - 1u)`, `${column} + i % ${this.d4}u`)};
    }`;
  }

  /** The block's value `name` of row group r for block row j (as `each` passes it). */
  value(name: string, r: number, j: string): string {
    return this.variant.subgroup8 ? `${name}${r}_${j.slice(0, -1)}` : `${name}${r}[j]`;
  }

  /**
   * Code for each of the block's 8 rows. Unrolled where broadcasts need constant lanes; elsewhere a loop whose
   * bound the compiler does not know, since unrolling multiplies the time to compile by eight.
   */
  each(code: (j: string) => string): string {
    if (this.variant.subgroup8)
      return range(BLOCK)
        .map((j) => code(`${j}u`))
        .join('\n    ');
    return `for (var j = 0u; j < p.block; j++) { ${code('j')} }`;
  }

  /** `target` += own{r} · row j of the block. */
  dot(target: string, own: string, shared: string, buffer: 'QKV' | 'DO', column: string): string {
    if (!this.variant.subgroup8)
      return this.each((j) =>
        this.groups
          .map(
            (r) =>
              `${this.value(target, r, j)} += ${range(this.d4)
                .map((e) => `dot(${own}${r}_${e}, ${shared}[j * ${this.d4}u + ${e}u])`)
                .join(' + ')};`,
          )
          .join(' '),
      );
    return this.broadcasts(buffer, column, (r, e, j, x) => [`${target}${r}_${j}`, `${own}${r}_${e}.${x}`]);
  }

  /** `target{r}_{e}` += weight · row j of the block. */
  axpy(target: string, weight: string, shared: string, buffer: 'QKV' | 'DO', column: string): string {
    if (!this.variant.subgroup8)
      return this.each((j) =>
        this.groups
          .flatMap((r) =>
            range(this.d4).map(
              (e) =>
                `${target}${r}_${e} = fma(vec4f(${this.value(weight, r, j)}), ${shared}[j * ${this.d4}u + ${e}u], ${target}${r}_${e});`,
            ),
          )
          .join(' '),
      );
    return this.broadcasts(buffer, column, (r, e, j, x) => [`${target}${r}_${e}.${x}`, `${weight}${r}_${j}`]);
  }

  /**
   * subgroup8: each lane loads its row of the block, vec4 by vec4, and every component b of every row j is handed to
   * all lanes: sum = fma(factor, b, sum) for the (sum, factor) that `term` names.
   */
  private broadcasts(
    buffer: 'QKV' | 'DO',
    column: string,
    term: (r: number, e: number, j: number, x: string) => [string, string],
  ): string {
    const lines: string[] = [];
    for (const e of range(this.d4)) {
      lines.push(`{ let v = ${this.load(buffer, 'other', `${column} + ${e}u`)};`);
      for (const j of range(BLOCK))
        for (const x of AXES) {
          lines.push(`{ let b = subgroupBroadcast(v.${x}, ${j}u);`);
          for (const r of this.groups) {
            const [sum, factor] = term(r, e, j, x);
            lines.push(`${sum} = fma(${factor}, b, ${sum});`);
          }
          lines.push('}');
        }
      lines.push('}');
    }
    return lines.join('\n    ');
  }

  /** Declares a value for every row group and block row. */
  scalars(name: string, initial: (r: number, j: string) => string): string {
    const declare = this.groups
      .map((r) =>
        this.variant.subgroup8
          ? range(BLOCK)
              .map((j) => `var ${name}${r}_${j} = ${initial(r, `${j}u`)};`)
              .join(' ')
          : `var ${name}${r}: array<f32, ${BLOCK}>;`,
      )
      .join('\n    ');
    if (this.variant.subgroup8) return declare;
    return `${declare}
    ${this.each((j) => this.groups.map((r) => `${this.value(name, r, j)} = ${initial(r, j)};`).join(' '))}`;
  }

  /** A value per block row that lane j holds (subgroup8) or that is read from memory. */
  perBlockRow(name: string, j: string, buffer: string): string {
    return this.variant.subgroup8
      ? `subgroupBroadcast(${name}, ${j})`
      : `${buffer}[head * p.tokens + min(block + ${j}, end - 1u)]`;
  }

  barrier(): string {
    return this.variant.subgroup8 ? '' : 'workgroupBarrier();';
  }

  row(r: number): string {
    return this.variant.subgroup8 ? `min(first + ${8 * r}u + lane, end - 1u)` : 'min(first + lane, end - 1u)';
  }

  exists(r: number): string {
    return this.variant.subgroup8 ? `first + ${8 * r}u + lane < end` : 'first + lane < end';
  }

  head(shared: string[]): string {
    const { subgroup8 } = this.variant;
    return `
${this.dropout ? THREEFRY : ''}
${
  this.dropout
    ? `// Two queries by four keys share one block: component = key mod 4, half = query mod 2.
fn randomBlock(query: u32, key: u32, head: u32, begin: u32) -> vec4u {
  return threefry(vec4u(p.seed, p.stream, 0u, 0u), vec4u(query / 2u, key / 4u, head, p.firstRow + begin));
}
fn keep(half: u32) -> f32 { return select(0.0, p.keepScale, half >= p.threshold); }`
    : ''
}
${subgroup8 ? '' : shared.map((name) => `var<workgroup> ${name}: array<vec4f, ${BLOCK * this.d4}>;`).join('\n')}
@compute @workgroup_size(${subgroup8 ? 8 : 64})
fn main(@builtin(workgroup_id) group: vec3u, ${subgroup8 ? '@builtin(subgroup_invocation_id)' : '@builtin(local_invocation_index)'} lane: u32) {
  let tile = tiles[group.x];
  let begin = tile.x; let end = tile.y; let first = tile.z;
  let head = group.y;
  let column = head * ${this.d4}u;`;
  }

  /** Start of the walk over the other side: `block` is the first row, `other` the lane's own row of it. */
  walk(): string {
    return `for (var block = begin; block < end; block += ${BLOCK}u) {
    ${this.variant.subgroup8 ? 'let other = min(block + lane, end - 1u);' : ''}`;
  }

  /** Multiplies `name` by the dropout mask of queries = own rows, keys = block rows. */
  dropKeys(name: string): string {
    if (!this.dropout) return '';
    return this.groups
      .map((r) => {
        const odd = `((row${r} - begin) & 1u) == 1u`;
        const four = (key: string, target: (x: number) => string) => `{
      let bits = randomBlock(row${r} - begin, block - begin + ${key}, head, begin);
      let halves = select(bits & vec4u(0xffffu), bits >> vec4u(16u), ${odd});
      ${range(4)
        .map((x) => `${target(x)} *= keep(halves.${AXES[x]});`)
        .join(' ')}
    }`;
        if (!this.variant.subgroup8)
          return `for (var n = 0u; n < p.block; n += 4u) ${four('n', (x) => `${name}${r}[n + ${x}u]`)}`;
        return [0, 4].map((n) => four(`${n}u`, (x) => `${name}${r}_${n + x}`)).join('\n    ');
      })
      .join('\n    ');
  }

  /** The same mask seen from a key row, queries = block rows: declares `keep`. */
  dropQueries(): string {
    if (!this.dropout) return '';
    return this.groups
      .map((r) => {
        const bits = (query: string) =>
          `randomBlock(block - begin + ${query}, row${r} - begin, head, begin)[(row${r} - begin) & 3u]`;
        if (!this.variant.subgroup8)
          return `var keep${r}: array<f32, ${BLOCK}>;
    for (var n = 0u; n < p.block; n += 2u) { let bits = ${bits('n')}; keep${r}[n] = keep(bits & 0xffffu); keep${r}[n + 1u] = keep(bits >> 16u); }`;
        return [0, 2, 4, 6]
          .map(
            (n) =>
              `let bits${r}_${n} = ${bits(`${n}u`)}; let keep${r}_${n} = keep(bits${r}_${n} & 0xffffu); let keep${r}_${n + 1} = keep(bits${r}_${n} >> 16u);`,
          )
          .join('\n    ');
      })
      .join('\n    ');
  }
}

const QUERY = 'column';
const KEY = 'p.hidden4 + column';
const VALUE = '2u * p.hidden4 + column';

const ATTENTION = signature(
  'attention',
  { qkv: floats('T', '3*heads*d') },
  { numbers: { heads: wholeNumber(1) } },
);
const DROPOUT = signature(
  'attention',
  { qkv: floats('...') },
  { numbers: { probability, seed: integer, stream: integer, firstRow: wholeNumber() } },
);

/** @throws ShapeError. */
function checkOperands(
  qkv: Tensor,
  sequences: TileSource,
  heads: number,
  dropout: AttentionDropout | undefined,
): void {
  requireBeside('attention', 'sequences', 'a PackedSequences', sequences, 'tokens', 'gpu');
  ATTENTION.check(
    { qkv },
    { heads },
    { extents: { T: [sequences.tokens, 'the sequences'] }, gpu: sequences.gpu },
  );
  if (dropout) {
    const { probability, seed, stream, firstRow = 0 } = dropout;
    DROPOUT.check({ qkv }, { probability, seed, stream, firstRow });
  }
  const { headDim } = sizesOf(qkv, heads);
  if (headDim % 4 !== 0 || headDim > 128 || headDim === 0)
    throw new ShapeError(
      'attention',
      `the head dimension must be a multiple of 4 up to 128, not ${headDim}`,
      { qkv },
    );
}

function sizesOf(qkv: Tensor, heads: number): { tokens: number; hidden: number; headDim: number } {
  const hidden = qkv.cols / 3;
  return { tokens: qkv.rows, hidden, headDim: hidden / heads };
}

function parameters(qkv: Tensor, heads: number, dropout: AttentionDropout | undefined) {
  const { tokens, hidden, headDim } = sizesOf(qkv, heads);
  const { threshold, keepScale } = dropMask(dropout?.probability ?? 0);
  return {
    stride: (3 * hidden) / 4,
    hidden4: hidden / 4,
    tokens,
    scale: 1 / Math.sqrt(headDim),
    threshold,
    keepScale,
    seed: dropout?.seed ?? 0,
    stream: dropout?.stream ?? 0,
    firstRow: dropout?.firstRow ?? 0,
    block: BLOCK,
    minusInfinity: -Infinity,
  };
}

const sourceType = (variant: Variant) => (variant.subgroup8 ? 'texture_2d<f32>' : vec4Type(variant.dtype));

/** Hands `use` what the kernels read: the tensors themselves, or textures of them that are given back after. */
function withSources(
  variant: Variant,
  tensors: readonly Tensor[],
  use: (sources: (Tensor | RowTexture)[]) => void,
): void {
  if (!variant.subgroup8) {
    use([...tensors]);
    return;
  }
  // Nothing is launched on no rows, and no texture is that small.
  if (tensors[0]!.rows === 0) return;
  const textures: RowTexture[] = [];
  try {
    for (const x of tensors) {
      const texture = x.gpu.rowTexture(
        x.binding(),
        x.cols * bytesPerElement[x.dtype],
        x.rows,
        x.dtype === 'f16' ? 'rgba16float' : 'rgba32float',
      );
      if (!texture) throw new ShapeError('attention', 'does not fit a texture', { x });
      textures.push(texture);
    }
    use(textures);
  } finally {
    for (const texture of textures) tensors[0]!.gpu.releaseTexture(texture);
  }
}

const { LOG2E } = Math;

/** Of f32: where the running maximum starts. A row of -∞ stays below it and ends as 0 / 0, a NaN, as in PyTorch. */
const LOWEST = '-0x1.fffffep+127';

const keyOf = (headDim: number, variant: Variant, dropout: AttentionDropout | undefined) =>
  `${headDim}.${variant.subgroup8}.${variant.dtype}.${dropout !== undefined}`;

/**
 * qkv: [T, 3·heads·headDim] f32 or f16. Returns out [T, heads·headDim] of the same and the base-2 log-sum-exp
 * [heads, T] f32; scores, softmax and sums are f32.
 * @throws ShapeError unless the sequences have T tokens in all and headDim is a multiple of 4 up to 128.
 */
export function attention(
  qkv: Tensor,
  sequences: TileSource,
  heads: number,
  dropout?: AttentionDropout,
): { out: Tensor; logSumExp: Tensor } {
  checkOperands(qkv, sequences, heads, dropout);
  const gpu = qkv.gpu;
  const { tokens, hidden, headDim } = sizesOf(qkv, heads);
  const dtype = floatDType('attention', qkv);
  const variant = variantOf(gpu, headDim, tokens, hidden, dtype);
  const out = Tensor.empty(gpu, [tokens, hidden], dtype);
  const logSumExp = Tensor.empty(gpu, [heads, tokens]);
  const tiles = sequences.tiles(variant.rowsPerTile);
  const shader = shaderOf(`attention.${keyOf(headDim, variant, dropout)}`, () => {
    const w = new Writer(headDim, variant, dropout !== undefined);
    return {
      label: 'attention',
      params: PARAMS,
      buffers: { QKV: sourceType(variant), tiles: 'array<vec4u>', outO: vec4Type(dtype), outL: 'array<f32>' },
      subgroups: variant.subgroup8,
      body: `${w.head(['ks', 'vs'])}
  ${w.groups.map((r) => `let row${r} = ${w.row(r)}; var m${r} = ${LOWEST}; var l${r} = 0.0;`).join('\n  ')}
  ${w.registers('q', (r, e) => `${w.load('QKV', `row${r}`, `${QUERY} + ${e}u`)} * (p.scale * ${LOG2E})`, 'let')}
  ${w.registers('o', () => 'vec4f()')}
  ${w.walk()}
    ${w.stage('ks', 'QKV', KEY)}
    ${w.stage('vs', 'QKV', VALUE)}
    ${w.barrier()}
    ${w.scalars('s', () => '0.0')}
    ${w.dot('s', 'q', 'ks', 'QKV', KEY)}
    ${w.groups
      .map(
        (r) => `var top${r} = m${r};
    ${w.each((j) => `${w.value('s', r, j)} = select(p.minusInfinity, ${w.value('s', r, j)}, block + ${j} < end); top${r} = max(top${r}, ${w.value('s', r, j)});`)}
    let shrink${r} = exp2(m${r} - top${r});
    m${r} = top${r};
    l${r} *= shrink${r};
    ${w.each((j) => `${w.value('s', r, j)} = exp2(${w.value('s', r, j)} - top${r}); l${r} += ${w.value('s', r, j)};`)}
    ${range(w.d4)
      .map((e) => `o${r}_${e} *= shrink${r};`)
      .join(' ')}`,
      )
      .join('\n    ')}
    ${w.dropKeys('s')}
    ${w.axpy('o', 's', 'vs', 'QKV', VALUE)}
    ${w.barrier()}
  }
  ${w.groups
    .map(
      (r) => `if (${w.exists(r)}) {
    ${range(w.d4)
      .map((e) => w.store('outO', `row${r} * p.hidden4 + column + ${e}u`, `o${r}_${e} / l${r}`))
      .join(' ')}
    outL[head * p.tokens + row${r}] = m${r} + log2(l${r});
  }`,
    )
    .join('\n  ')}
}`,
    };
  });
  withSources(variant, [qkv], ([source]) =>
    shader.run(gpu, [source!, tiles, out, logSumExp], parameters(qkv, heads, dropout), [tiles.rows, heads]),
  );
  return { out, logSumExp };
}

/** dqkv [T, 3·H] of dOut [T, H]; `out` and `logSumExp` are those of the forward pass. */
export function attentionGradient(
  qkv: Tensor,
  out: Tensor,
  logSumExp: Tensor,
  dOut: Tensor,
  sequences: TileSource,
  heads: number,
  dropout?: AttentionDropout,
): Tensor {
  const gpu = qkv.gpu;
  const { tokens, hidden, headDim } = sizesOf(qkv, heads);
  const dtype = floatDType('attention', qkv);
  const variant = variantOf(gpu, headDim, tokens, hidden, dtype);
  const tiles = sequences.tiles(variant.rowsPerTile);
  const dqkv = Tensor.empty(gpu, qkv.shape, dtype);
  const params = parameters(qkv, heads, dropout);
  const delta = rowDots(out, dOut, heads);
  const key = keyOf(headDim, variant, dropout);
  const buffers = {
    QKV: sourceType(variant),
    tiles: 'array<vec4u>',
    DO: sourceType(variant),
    L: 'array<f32>',
    delta: 'array<f32>',
    outD: vec4Type(dtype),
  };
  const dq = shaderOf(`attentionDQ.${key}`, () => {
    const w = new Writer(headDim, variant, dropout !== undefined);
    return {
      label: 'attentionDQ',
      params: PARAMS,
      buffers,
      subgroups: variant.subgroup8,
      body: `${w.head(['ks', 'vs'])}
  ${w.groups
    .map(
      (r) =>
        `let row${r} = ${w.row(r)}; let lse${r} = L[head * p.tokens + row${r}]; let delta${r} = delta[head * p.tokens + row${r}];`,
    )
    .join('\n  ')}
  ${w.registers('q', (r, e) => `${w.load('QKV', `row${r}`, `${QUERY} + ${e}u`)} * (p.scale * ${LOG2E})`, 'let')}
  ${w.registers('g', (r, e) => w.load('DO', `row${r}`, `column + ${e}u`), 'let')}
  ${w.registers('d', () => 'vec4f()')}
  ${w.walk()}
    ${w.stage('ks', 'QKV', KEY)}
    ${w.stage('vs', 'QKV', VALUE)}
    ${w.barrier()}
    ${w.scalars('s', (r) => `-lse${r}`)}
    ${w.dot('s', 'q', 'ks', 'QKV', KEY)}
    ${w.scalars('dp', () => '0.0')}
    ${w.dot('dp', 'g', 'vs', 'QKV', VALUE)}
    ${w.dropKeys('dp')}
    ${w.each((j) =>
      w.groups
        .map(
          (r) =>
            `${w.value('s', r, j)} = select(0.0, exp2(${w.value('s', r, j)}) * (${w.value('dp', r, j)} - delta${r}) * p.scale, block + ${j} < end);`,
        )
        .join(' '),
    )}
    ${w.axpy('d', 's', 'ks', 'QKV', KEY)}
    ${w.barrier()}
  }
  ${w.groups
    .map(
      (r) =>
        `if (${w.exists(r)}) { ${range(w.d4)
          .map((e) => w.store('outD', `row${r} * p.stride + ${QUERY} + ${e}u`, `d${r}_${e}`))
          .join(' ')} }`,
    )
    .join('\n  ')}
}`,
    };
  });
  const dkv = shaderOf(`attentionDKV.${key}`, () => {
    const w = new Writer(headDim, variant, dropout !== undefined);
    const own = dropout ? (r: number, j: string) => ` * ${w.value('keep', r, j)}` : () => '';
    return {
      label: 'attentionDKV',
      params: PARAMS,
      buffers,
      subgroups: variant.subgroup8,
      body: `${w.head(['qs', 'gs'])}
  ${w.groups.map((r) => `let row${r} = ${w.row(r)};`).join('\n  ')}
  ${w.registers('k', (r, e) => `${w.load('QKV', `row${r}`, `${KEY} + ${e}u`)} * (p.scale * ${LOG2E})`, 'let')}
  ${w.registers('v', (r, e) => `${w.load('QKV', `row${r}`, `${VALUE} + ${e}u`)}`, 'let')}
  ${w.registers('dk', () => 'vec4f()')}
  ${w.registers('dv', () => 'vec4f()')}
  ${w.walk()}
    ${variant.subgroup8 ? 'let lse = L[head * p.tokens + other]; let rowDelta = delta[head * p.tokens + other];' : ''}
    ${w.stage('qs', 'QKV', QUERY)}
    ${w.stage('gs', 'DO', 'column')}
    ${w.barrier()}
    ${w.scalars('s', () => '0.0')}
    ${w.dot('s', 'k', 'qs', 'QKV', QUERY)}
    ${w.dropQueries()}
    ${w.scalars('pr', (r, j) => `select(0.0, exp2(${w.value('s', r, j)} - ${w.perBlockRow('lse', j, 'L')}), block + ${j} < end)`)}
    ${w.scalars('w', (r, j) => `${w.value('pr', r, j)}${own(r, j)}`)}
    ${w.axpy('dv', 'w', 'gs', 'DO', 'column')}
    ${w.scalars('dp', () => '0.0')}
    ${w.dot('dp', 'v', 'gs', 'DO', 'column')}
    ${w.each((j) =>
      w.groups
        .map(
          (r) =>
            `${w.value('pr', r, j)} *= (${w.value('dp', r, j)}${own(r, j)} - ${w.perBlockRow('rowDelta', j, 'delta')}) * p.scale;`,
        )
        .join(' '),
    )}
    ${w.axpy('dk', 'pr', 'qs', 'QKV', QUERY)}
    ${w.barrier()}
  }
  ${w.groups
    .map(
      (r) =>
        `if (${w.exists(r)}) { ${range(w.d4)
          .map(
            (e) =>
              `${w.store('outD', `row${r} * p.stride + ${KEY} + ${e}u`, `dk${r}_${e}`)} ${w.store('outD', `row${r} * p.stride + ${VALUE} + ${e}u`, `dv${r}_${e}`)}`,
          )
          .join(' ')} }`,
    )
    .join('\n  ')}
}`,
    };
  });
  withSources(variant, [qkv, dOut], ([source, outer]) => {
    for (const shader of [dq, dkv])
      shader.run(gpu, [source!, tiles, outer!, logSumExp, delta, dqkv], params, [tiles.rows, heads]);
  });
  delta.dispose();
  return dqkv;
}

/** delta[h,t] = Σ_d out[t,h,d]·dOut[t,h,d]. */
function rowDots(out: Tensor, dOut: Tensor, heads: number): Tensor {
  const { rows: tokens, cols: hidden } = out;
  const delta = Tensor.empty(out.gpu, [heads, tokens]);
  const dtype = floatDType('attention', out);
  const shader = shaderOf(`attentionDelta.${dtype}`, () => ({
    label: 'attentionDelta',
    params: { count: 'u32', tokens: 'u32', hidden4: 'u32', d4: 'u32' } as const,
    buffers: { O: vec4Type(dtype), DO: vec4Type(dtype), outD: 'array<f32>' },
    body: `${FLAT_MAIN}
  if (i >= p.count) { return; }
  let base = (i % p.tokens) * p.hidden4 + (i / p.tokens) * p.d4;
  var sum = 0.0;
  for (var e = 0u; e < p.d4; e++) { sum += dot(${load4(dtype, 'O', 'base + e')}, ${load4(dtype, 'DO', 'base + e')}); }
  outD[i] = sum;
}`,
  }));
  const count = heads * tokens;
  shader.run(
    out.gpu,
    [out, dOut, delta],
    { count, tokens, hidden4: hidden / 4, d4: hidden / heads / 4 },
    flatGrid(count),
  );
  return delta;
}

/** Float64 reference without dropout: out [T,H]. */
export function attentionReference(
  qkv: ArrayLike<number>,
  cuSeqlens: ArrayLike<number>,
  heads: number,
  hidden: number,
): Float64Array {
  const d = hidden / heads;
  const tokens = cuSeqlens[cuSeqlens.length - 1]!;
  const out = new Float64Array(tokens * hidden);
  const at = (t: number, part: number, h: number, e: number) =>
    qkv[t * 3 * hidden + part * hidden + h * d + e]!;
  for (let s = 0; s + 1 < cuSeqlens.length; s++)
    for (let h = 0; h < heads; h++)
      for (let i = cuSeqlens[s]!; i < cuSeqlens[s + 1]!; i++) {
        const scores: number[] = [];
        for (let j = cuSeqlens[s]!; j < cuSeqlens[s + 1]!; j++) {
          let dot = 0;
          for (let e = 0; e < d; e++) dot += at(i, 0, h, e) * at(j, 1, h, e);
          scores.push(dot / Math.sqrt(d));
        }
        const top = Math.max(...scores);
        const weights = scores.map((score) => Math.exp(score - top));
        const total = weights.reduce((a, b) => a + b, 0);
        weights.forEach((weight, n) => {
          for (let e = 0; e < d; e++)
            out[i * hidden + h * d + e]! += (weight / total) * at(cuSeqlens[s]! + n, 2, h, e);
        });
      }
  return out;
}
