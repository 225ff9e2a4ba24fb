// any adapter and any shape: 64×64 tiles in workgroup memory
// a CPU: a=f32 b=f32 c=f32 gelu=false transA=false transB=false
requires immediate_address_space;
struct Params { M: u32, N: u32, K: u32, lda: u32, ldb: u32, ldc: u32, startA: u32, startB: u32, startC: u32, hasBias: u32, accumulate: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> A: array<f32>;
@group(0) @binding(1) var<storage, read> B: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> outC: array<f32>;

// As[k][m], Bs[k][n]; rows padded by one vec4 against bank conflicts.
var<workgroup> As: array<array<vec4f, 17>, 16>;
var<workgroup> Bs: array<array<vec4f, 17>, 16>;
fn readA(m: u32, k: u32) -> f32 {
  if (m >= p.M || k >= p.K) { return 0.0; }
  return A[p.startA + m * p.lda + k];
}
fn readB(k: u32, n: u32) -> f32 {
  if (n >= p.N || k >= p.K) { return 0.0; }
  return B[p.startB + k * p.ldb + n];
}
@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) id: vec3u, @builtin(local_invocation_index) index: u32) {
  let row0 = group.y * 64u;
  let col0 = group.x * 64u;
  var acc: array<vec4f, 4>;
  for (var k0 = 0u; k0 < p.K; k0 += 16u) {
    // 256 threads bring 64×16 values of each operand, one vec4 each; neighbours read neighbouring addresses.
    {
      let k = index % 16u; let m = (index / 16u) * 4u; As[k][m / 4u] = vec4f(readA(row0 + m, k0 + k), readA(row0 + m + 1u, k0 + k), readA(row0 + m + 2u, k0 + k), readA(row0 + m + 3u, k0 + k));
    }
    {
      let k = index / 16u; let n = (index % 16u) * 4u; Bs[k][n / 4u] = vec4f(readB(k0 + k, col0 + n), readB(k0 + k, col0 + n + 1u), readB(k0 + k, col0 + n + 2u), readB(k0 + k, col0 + n + 3u));
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
    for (var e = 0u; e < 4u; e++) {
      let col = col0 + id.x * 4u + e;
      if (col >= p.N) { break; }
      var sum = acc[r][e];
      if (p.hasBias != 0u) { sum += bias[col]; }
      if (p.accumulate != 0u) { sum += outC[p.startC + row * p.ldc + col]; }
      
      outC[p.startC + row * p.ldc + col] = sum;
    }
  }
}
