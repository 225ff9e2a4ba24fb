/**
 * Matrix product C[M,N] = op(A) · op(B) (+ bias) (+ C), in the three layouts that training needs:
 * y = x·Wᵀ, dx = dy·W, dW = dyᵀ·x. Transposition is a flag; no transposed copy is ever made. Each operand and the
 * result is f32 or f16; products are added up in f32.
 *
 * Variants
 *   subgroup8  lavapipe: 32×24 register tile on 8 lanes; each lane loads another vec4 and the lanes hand values
 *              round with constant-lane broadcasts (spec wgsl-on-lavapipe §A: 2.5–5× the other forms there).
 *   tile64     everything else, and all odd shapes: 64×64 tile in workgroup memory, 4×4 per thread, GELU fused.
 */
import { ShapeError } from '../errors.js';
import { f32, floats, optional, signature } from '../tensor/operands.js';
import { bytesPerElement, Tensor } from '../tensor/tensor.js';
import { elementary } from './elementary.js';
import { type FloatDType, floatDType, load4, type Shader, shaderOf, store4, vec4Type } from './launch.js';
import { unary, unaryFormulas } from './pointwise.js';
import { rowPieces } from './ranges.js';
import { usesSubgroup8 } from './variants.js';

export interface MatmulOptions {
  /** A is stored [K,M]. */
  transA?: boolean;
  /** B is stored [N,K]. */
  transB?: boolean;
  /** [N] f32, added to every row. */
  bias?: Tensor | undefined;
  /** Of a new result; that of `a` by default. */
  dtype?: FloatDType | undefined;
  /** Write here instead of into a new tensor, of M·N elements. */
  out?: Tensor | undefined;
  /** Add to `out` instead of overwriting it. */
  accumulate?: boolean;
  /** Return gelu(A·B + bias), and write A·B + bias here, where the gradient will want it: M·N elements. */
  preActivation?: Tensor | undefined;
}

const PARAMS = { M: 'u32', N: 'u32', K: 'u32', hasBias: 'u32', accumulate: 'u32' } as const;
type MatmulShader = Shader<typeof PARAMS>;

/** What a shader is made for. */
interface Form {
  readonly transA: boolean;
  readonly transB: boolean;
  readonly a: FloatDType;
  readonly b: FloatDType;
  readonly c: FloatDType;
  readonly gelu: boolean;
}

const keyOf = (form: Form) => Object.values(form).join('.');

const matmulSignature = (transA: boolean, transB: boolean) =>
  signature(
    'matmul',
    {
      a: transA ? floats('K', 'M') : floats('...', 'K'),
      b: transB ? floats('N', 'K') : floats('K', 'N'),
      bias: optional(f32('N')),
      out: optional(transA ? floats('M', 'N') : floats('...', 'N')),
      preActivation: optional(transA ? floats('M', 'N') : floats('...', 'N')),
    },
    { meanings: { K: 'inner dimensions' }, foursInF16Result: ['N'] },
  );
const SIGNATURES = {
  NN: matmulSignature(false, false),
  NT: matmulSignature(false, true),
  TN: matmulSignature(true, false),
  TT: matmulSignature(true, true),
};

/**
 * a: [...,K] or with transA [K,M] (leading dimensions are rows); b: [K,N], or [N,K] with transB. An f16 result
 * needs whole groups of 4 columns. Returns [...,N] (with transA [M,N]); an empty inner dimension gives the bias, or
 * zeros. @throws ShapeError.
 */
export function matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  const { transA = false, transB = false, bias, out, preActivation } = options;
  const resultDType = out?.dtype ?? options.dtype ?? (a?.dtype === 'f16' ? 'f16' : 'f32');
  SIGNATURES[`${transA ? 'T' : 'N'}${transB ? 'T' : 'N'}`].check(
    { a, b, bias, out, preActivation },
    {},
    { result: resultDType },
  );
  const dtypes = { a: floatDType('matmul', a), b: floatDType('matmul', b) };
  const [M, K] = transA ? [a.cols, a.rows] : [a.rows, a.cols];
  const N = transB ? b.shape[0]! : b.shape[1]!;
  if (preActivation && (options.accumulate || out || preActivation.dtype !== resultDType))
    throw new ShapeError('matmul', `a GELU epilogue needs a new result, of the pre-activation's dtype`, {
      a,
      b,
      preActivation,
      out,
    });
  const shape = transA ? [M, N] : [...a.shape.slice(0, -1), N];
  const gpu = a.gpu;
  const c = out ?? Tensor.empty(gpu, shape, resultDType);
  if (M === 0 || N === 0) return c;
  const whole = (n: number) => n % 4 === 0;
  const eight = usesSubgroup8(gpu, 'matmul');
  const fits = whole(N) && (transA ? whole(M) && !transB : whole(K));
  if (preActivation && eight && fits) {
    // There erf at 96 unrolled places would take longer to compile than its own pass takes to run.
    c.dispose();
    matmul(a, b, { ...options, preActivation: undefined, out: preActivation });
    return unary('gelu', preActivation).alias(shape);
  }
  const form: Form = {
    transA,
    transB,
    ...dtypes,
    c: floatDType('matmul', c),
    gelu: preActivation !== undefined,
  };
  const [shader, tileM, tileN] =
    eight && fits ? [subgroup8(form), ROW_GROUPS * 8, TILE_COLUMNS] : [tile64(form), 64, 64];
  // Rows that one binding cannot see: of A and C, or with transA of A and B, whose products then add up.
  const width = (tensor: Tensor) => bytesPerElement[tensor.dtype];
  const rows = transA ? K : M;
  const pieces = rowPieces(
    gpu,
    rows,
    transA ? Math.max(M * width(a), N * width(b)) : Math.max(K * width(a), N * width(c)),
  );
  for (const [n, { start, count }] of pieces.entries()) {
    const part = (tensor: Tensor, cols: number) =>
      pieces.length === 1 ? tensor : tensor.bindingRange(start * cols, count * cols);
    shader.run(
      gpu,
      [
        part(a, transA ? M : K),
        transA ? part(b, N) : b,
        // Without a bias something must be bound all the same.
        bias ?? { ...b.bindingRange(0, 4), dtype: undefined },
        transA ? c : part(c, N),
        ...(preActivation ? [part(preActivation, N)] : []),
      ],
      {
        M: transA ? M : count,
        N,
        K: transA ? count : K,
        hasBias: bias && !(transA && n > 0) ? 1 : 0,
        accumulate: options.accumulate || (transA && n > 0) ? 1 : 0,
      },
      [Math.ceil(N / tileN), Math.ceil((transA ? M : count) / tileM)],
    );
  }
  return c;
}

// ---- subgroup8 -----------------------------------------------------------------------------------------------

const ROW_GROUPS = 4;
const TILE_COLUMNS = 24;
const AXES = ['x', 'y', 'z', 'w'] as const;
const range = (n: number) => Array.from({ length: n }, (_, i) => i);

function subgroup8(form: Form): MatmulShader {
  return shaderOf(`matmul.subgroup8.${keyOf(form)}`, () => {
    const { transA, transB } = form;
    const A = (index: string) => load4(form.a, 'A', index);
    const B = (index: string) => load4(form.b, 'B', index);
    const R = ROW_GROUPS;
    const C = TILE_COLUMNS;
    const lines: string[] = [];
    if (!transA && transB) {
      // Both operands are vec4s along k. Lane holds A rows row0+8r+lane and B rows (columns of C) col+8v+lane.
      for (const r of range(R))
        lines.push(`let a${r} = ${A(`min(row0 + ${8 * r}u + lane, p.M - 1u) * KV + k`)};`);
      for (const v of range(C / 8))
        lines.push(`let b${v} = ${B(`min(col + ${8 * v}u + lane, p.N - 1u) * KV + k`)};`);
      for (const c of range(C))
        for (const x of AXES) {
          lines.push(`{ let b = subgroupBroadcast(b${Math.floor(c / 8)}.${x}, ${c % 8}u);`);
          for (const r of range(R)) lines.push(`  c${r}_${c} = fma(a${r}.${x}, b, c${r}_${c});`);
          lines.push('}');
        }
    } else {
      // B is [K,N]: one load covers 2 reduction rows × 4 vec4 columns; lane = 4·p + v holds row 2x+p, column 4v.
      if (!transA)
        for (const r of range(R))
          lines.push(`let a${r} = ${A(`min(row0 + ${8 * r}u + lane, p.M - 1u) * KV + k`)};`);
      // dW: a lane owns 4 neighbouring rows of C (columns of A), so one vec4 a step brings all of R = 4.
      else
        for (const q of range(4))
          lines.push(
            `let a${q} = select(vec4f(), ${A(`min(4u * k + ${q}u, p.K - 1u) * MV + min(row0 / 4u + lane, MV - 1u)`)}, 4u * k + ${q}u < p.K);`,
          );
      // C columns = 24 = 6 vec4s: loads 0..2 bring vec4 columns 0..3 of row pair (0,1), 0..3 of (2,3), and 4..5 of all four.
      lines.push('let kk = 4u * k;');
      lines.push(
        `let b0 = ${B('min(kk + lane / 4u, p.K - 1u) * NV + min(col / 4u + lane % 4u, NV - 1u)')};`,
        `let b1 = ${B('min(kk + 2u + lane / 4u, p.K - 1u) * NV + min(col / 4u + lane % 4u, NV - 1u)')};`,
        `let b2 = ${B('min(kk + lane / 2u, p.K - 1u) * NV + min(col / 4u + 4u + lane % 2u, NV - 1u)')};`,
      );
      for (const q of range(4))
        for (const c of range(C)) {
          const v = Math.floor(c / 4);
          const [load, lane] = v < 4 ? [q < 2 ? 'b0' : 'b1', (q % 2) * 4 + v] : ['b2', q * 2 + (v - 4)];
          lines.push(`{ let b = subgroupBroadcast(${load}.${AXES[c % 4]}, ${lane}u);`);
          for (const r of range(R)) {
            const a = transA ? `a${q}.${AXES[r]}` : `a${r}.${AXES[q]}`;
            lines.push(`  c${r}_${c} = fma(${a}, b, c${r}_${c});`);
          }
          lines.push('}');
        }
    }
    const trips = transA ? '(p.K + 3u) / 4u' : 'KV';
    const stores: string[] = [];
    for (const r of range(R)) {
      const row = transA ? `row0 + 4u * lane + ${r}u` : `row0 + ${8 * r}u + lane`;
      const values = range(C / 4).map(
        (v) =>
          `store(${row}, col / 4u + ${v}u, vec4f(${range(4)
            .map((x) => `c${r}_${4 * v + x}`)
            .join(', ')}));`,
      );
      stores.push(...values);
    }
    return {
      label: `matmul${transA ? 'TN' : transB ? 'NT' : 'NN'}`,
      params: PARAMS,
      buffers: {
        A: vec4Type(form.a),
        B: vec4Type(form.b),
        bias: 'array<vec4f>',
        outC: vec4Type(form.c),
      },
      subgroups: true,
      body: `
fn store(row: u32, v: u32, value: vec4f) {
  let NV = p.N / 4u;
  if (row >= p.M || v >= NV) { return; }
  var sum = value;
  if (p.hasBias != 0u) { sum += bias[v]; }
  if (p.accumulate != 0u) { sum += ${load4(form.c, 'outC', 'row * NV + v')}; }
  ${store4(form.c, 'outC', 'row * NV + v', 'sum')}
}
@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let row0 = group.y * ${8 * R}u;
  let col = group.x * ${C}u;
  let KV = p.K / 4u; let NV = p.N / 4u; let MV = p.M / 4u;
  ${range(R)
    .map((r) =>
      range(C)
        .map((c) => `var c${r}_${c} = 0.0;`)
        .join(' '),
    )
    .join('\n  ')}
  for (var k = 0u; k < ${trips}; k++) {
    ${lines.join('\n    ')}
  }
  ${stores.join('\n  ')}
}`,
    };
  });
}

// ---- tile64 --------------------------------------------------------------------------------------------------

function tile64(form: Form): MatmulShader {
  const { transA, transB, gelu } = form;
  const type = (dtype: FloatDType) => (dtype === 'f16' ? 'array<Half2>' : 'array<f32>');
  const read = (dtype: FloatDType, buffer: string, index: string) =>
    dtype === 'f16'
      ? `let i = ${index}; return unpack2x16float(${buffer}[i / 2u])[i % 2u];`
      : `return ${buffer}[${index}];`;
  // A thread owns 4 neighbouring columns: whole groups of halves, single values of f32.
  const result = form.c === 'f16' ? 'array<Half4>' : 'array<f32>';
  // GELU is taken of the pre-activation as it is stored: forward is then what the gradient differentiates.
  const activate = (at: string) =>
    form.c === 'f16'
      ? `{ let u = packHalves(sum); outU[${at}] = u; let x = unpackHalves(u); sum = ${unaryFormulas.gelu.forward}; }`
      : `{ let x = sum; outU[${at}] = x; sum = ${unaryFormulas.gelu.forward}; }`;
  const epilogue = (sum: string, bias: string, at: string) => `
      var sum = ${sum};
      if (p.hasBias != 0u) { sum += ${bias}; }
      if (p.accumulate != 0u) { sum += ${form.c === 'f16' ? load4('f16', 'outC', at) : `outC[${at}]`}; }
      ${gelu ? activate(at) : ''}
      ${form.c === 'f16' ? store4('f16', 'outC', at, 'sum') : `outC[${at}] = sum;`}`;
  return shaderOf(`matmul.tile64.${keyOf(form)}`, () => ({
    label: `matmul${transA ? 'T' : 'N'}${transB ? 'T' : 'N'}.tile64`,
    params: PARAMS,
    buffers: {
      A: type(form.a),
      B: type(form.b),
      bias: 'array<f32>',
      outC: result,
      ...(gelu ? { outU: result } : {}),
    },
    body: `${gelu ? elementary(form.c === 'f16' ? 'vec4f' : 'f32') : ''}
// As[k][m], Bs[k][n]; rows padded by one vec4 against bank conflicts.
var<workgroup> As: array<array<vec4f, 17>, 16>;
var<workgroup> Bs: array<array<vec4f, 17>, 16>;
fn readA(m: u32, k: u32) -> f32 {
  if (m >= p.M || k >= p.K) { return 0.0; }
  ${read(form.a, 'A', transA ? 'k * p.M + m' : 'm * p.K + k')}
}
fn readB(k: u32, n: u32) -> f32 {
  if (n >= p.N || k >= p.K) { return 0.0; }
  ${read(form.b, 'B', transB ? 'n * p.K + k' : 'k * p.N + n')}
}
@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) id: vec3u, @builtin(local_invocation_index) index: u32) {
  let row0 = group.y * 64u;
  let col0 = group.x * 64u;
  var acc: array<vec4f, 4>;
  for (var k0 = 0u; k0 < p.K; k0 += 16u) {
    // 256 threads bring 64×16 values of each operand, one vec4 each; neighbours read neighbouring addresses.
    {
      ${
        transA
          ? 'let k = index / 16u; let m = (index % 16u) * 4u; As[k][m / 4u] = vec4f(readA(row0 + m, k0 + k), readA(row0 + m + 1u, k0 + k), readA(row0 + m + 2u, k0 + k), readA(row0 + m + 3u, k0 + k));'
          : 'let k = index % 16u; let m = (index / 16u) * 4u; As[k][m / 4u] = vec4f(readA(row0 + m, k0 + k), readA(row0 + m + 1u, k0 + k), readA(row0 + m + 2u, k0 + k), readA(row0 + m + 3u, k0 + k));'
      }
    }
    {
      ${
        transB
          ? 'let k = index % 16u; let n = (index / 16u) * 4u; Bs[k][n / 4u] = vec4f(readB(k0 + k, col0 + n), readB(k0 + k, col0 + n + 1u), readB(k0 + k, col0 + n + 2u), readB(k0 + k, col0 + n + 3u));'
          : 'let k = index / 16u; let n = (index % 16u) * 4u; Bs[k][n / 4u] = vec4f(readB(k0 + k, col0 + n), readB(k0 + k, col0 + n + 1u), readB(k0 + k, col0 + n + 2u), readB(k0 + k, col0 + n + 3u));'
      }
    }
    workgroupBarrier();
    for (var k = 0u; k < 16u; k++) {
      let a = As[k][id.y];
      let b = Bs[k][id.x];
      acc[0] = fma(vec4f(a.x), b, acc[0]);
      acc[1] = fma(vec4f(a.y), b, acc[1]);
      acc[2] = fma(vec4f(a.z), b, acc[2]);
      acc[3] = fma(vec4f(a.w), b, acc[3]);
    }
    workgroupBarrier();
  }
  for (var r = 0u; r < 4u; r++) {
    let row = row0 + id.y * 4u + r;
    if (row >= p.M) { break; }
    ${
      form.c === 'f16'
        ? `let col = col0 + id.x * 4u;
    if (col < p.N) {${epilogue('acc[r]', 'vec4f(bias[col], bias[col + 1u], bias[col + 2u], bias[col + 3u])', '(row * p.N + col) / 4u')}
    }`
        : `for (var e = 0u; e < 4u; e++) {
      let col = col0 + id.x * 4u + e;
      if (col >= p.N) { break; }${epilogue('acc[r][e]', 'bias[col]', 'row * p.N + col')}
    }`
    }
  }
}`,
  }));
}

// ---- reference -----------------------------------------------------------------------------------------------

/** Float64 reference. */
export function matmulReference(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  {
    M,
    N,
    K,
    transA = false,
    transB = false,
  }: { M: number; N: number; K: number; transA?: boolean; transB?: boolean },
  bias?: ArrayLike<number>,
): Float64Array {
  const c = new Float64Array(M * N);
  for (let m = 0; m < M; m++)
    for (let n = 0; n < N; n++) {
      let sum = bias ? bias[n]! : 0;
      for (let k = 0; k < K; k++)
        sum += a[transA ? k * M + m : m * K + k]! * b[transB ? n * K + k : k * N + n]!;
      c[m * N + n] = sum;
    }
  return c;
}
