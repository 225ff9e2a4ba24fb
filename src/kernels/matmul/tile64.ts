/**
 * For any adapter and any shape: tiles of 64×64 in workgroup memory, 4×4 a thread, GELU in the epilogue.
 */
import { elementary } from '../elementary.js';
import { type FloatDType, load4, store4 } from '../launch/formats.js';
import { type Shader, shaderOf } from '../launch/shader.js';
import { unaryFormulas } from '../pointwise.js';
import {
  layoutOf,
  type MatmulForm,
  type MatmulVariant,
  PARAMS,
  paramsOf,
  partsOf,
  piecesOf,
  startsOf,
  tileGrid,
} from './form.js';

export const tile64: MatmulVariant = {
  name: 'tile64',
  why: 'any adapter and any shape: 64×64 tiles in workgroup memory',
  supports: () => true,
  prior: () => 1,
  fuses: new Set(['gelu']),
  shaders: (_, form) => ({ product: shader(form) }),
  run(gpu, form, size, operands) {
    const most = 64 * gpu.capabilities.maxWorkgroupsPerDimension;
    for (const piece of piecesOf(gpu, form, size, { M: most, N: most })) {
      const { A, B, bias, C, U, params } = partsOf(form, size, operands, piece);
      shader(form).run(
        gpu,
        [A, B, bias, C, ...(U ? [U] : [])],
        params,
        tileGrid(piece, 64, 64, size.batches),
      );
    }
  },
};

function shader(form: MatmulForm): Shader<typeof PARAMS> {
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
  return shaderOf('matmul.tile64', form, (form) => {
    const starts = startsOf(form);
    return {
      label: `matmul${layoutOf(form)}.tile64${form.batched ? '.batched' : ''}`,
      params: paramsOf(form, PARAMS),
      buffers: {
        A: type(form.a),
        B: type(form.b),
        bias: 'array<f32>',
        outC: result,
        ...(gelu ? { outU: result } : {}),
      },
      body: `${gelu ? elementary(form.c === 'f16' ? 'vec4f' : 'f32') : ''}
${starts.declared}// As[k][m], Bs[k][n]; rows padded by one vec4 against bank conflicts.
var<workgroup> As: array<array<vec4f, 17>, 16>;
var<workgroup> Bs: array<array<vec4f, 17>, 16>;
fn readA(m: u32, k: u32) -> f32 {
  if (m >= p.M || k >= p.K) { return 0.0; }
  ${read(form.a, 'A', `${starts.A} + ${transA ? 'k * p.lda + m' : 'm * p.lda + k'}`)}
}
fn readB(k: u32, n: u32) -> f32 {
  if (n >= p.N || k >= p.K) { return 0.0; }
  ${read(form.b, 'B', `${starts.B} + ${transB ? 'n * p.ldb + k' : 'k * p.ldb + n'}`)}
}
@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) id: vec3u, @builtin(local_invocation_index) index: u32) {
  ${starts.set}let row0 = group.y * 64u;
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
    if (col < p.N) {${epilogue('acc[r]', 'vec4f(bias[col], bias[col + 1u], bias[col + 2u], bias[col + 3u])', `(${starts.C} + row * p.ldc + col) / 4u`)}
    }`
        : `for (var e = 0u; e < 4u; e++) {
      let col = col0 + id.x * 4u + e;
      if (col >= p.N) { break; }${epilogue('acc[r][e]', 'bias[col]', `${starts.C} + row * p.ldc + col`)}
    }`
    }
  }
}`,
    };
  });
}
