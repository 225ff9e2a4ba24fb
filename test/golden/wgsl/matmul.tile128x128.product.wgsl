// the same for large products, which the caches would otherwise hold back
// a CPU: a=f32 b=f32 c=f32 gelu=false transA=true transB=false
requires immediate_address_space;
struct Params { M: u32, N: u32, K: u32, lda: u32, ldb: u32, ldc: u32, startA: u32, startB: u32, startC: u32, hasBias: u32, accumulate: u32, depth: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> A: array<vec4f>;
@group(0) @binding(1) var<storage, read> B: array<vec4f>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> outC: array<vec4f>;

var<workgroup> sA: array<vec4f, 528>;
var<workgroup> sB: array<vec4f, 528>;

fn finish(at: u32, v: u32, value: vec4f) {
  var sum = value;
  if (p.hasBias != 0u) { sum += bias[v]; }
  if (p.accumulate != 0u) { sum += outC[at]; }
  
  outC[at] = sum;
}
fn store(row: u32, v: u32, sum: vec4f, part: u32) {
  if (row < p.M && v < p.N / 4u) { finish((p.startC + row * p.ldc) / 4u + v, v, sum); }
}
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) index: u32) {
  let rowTiles = (p.M + 127u) / 128u;
  let colTiles = (p.N + 127u) / 128u;
  let tile = group.y * groups.x + group.x;
  if (tile >= rowTiles * colTiles) { return; }
  let band = tile / (rowTiles * 8u);
  let inBand = tile % (rowTiles * 8u);
  let bandTiles = min(8u, colTiles - band * 8u);
  let row0 = inBand / bandTiles * 128u;
  let col0 = (band * 8u + inBand % bandTiles) * 128u;
  let first = group.z * p.depth;
  let end = min(p.K, first + p.depth);
  let x = index % 16u;
  let y = index / 16u;
  var c0_0: vec4f; var c0_1: vec4f; var c1_0: vec4f; var c1_1: vec4f; var c2_0: vec4f; var c2_1: vec4f; var c3_0: vec4f; var c3_1: vec4f; var c4_0: vec4f; var c4_1: vec4f; var c5_0: vec4f; var c5_1: vec4f; var c6_0: vec4f; var c6_1: vec4f; var c7_0: vec4f; var c7_1: vec4f;
  var a0: vec4f;
  var b0: vec4f;
  var slice = first;
  var half = 0u;
  {
    { let u = index; let k = u / 32u; let i = u % 32u; let at = slice + k; let inside = at < end;
      a0 = select(vec4f(), A[(p.startA + min(at, p.K - 1u) * p.lda) / 4u + min(row0 / 4u + i, p.M / 4u - 1u)], inside); }
    { let u = index; let k = u / 32u; let i = u % 32u; let at = slice + k; let inside = at < end;
      b0 = select(vec4f(), B[(p.startB + min(at, p.K - 1u) * p.ldb) / 4u + min(col0 / 4u + i, p.N / 4u - 1u)], inside); }
    { let u = index; let k = u / 32u; let i = u % 32u; sA[half * 264u + k * 33u + i] = a0; }
    { let u = index; let k = u / 32u; let i = u % 32u; sB[half * 264u + k * 33u + i] = b0; }
  }
  workgroupBarrier();
  while (slice < end) {
    slice += 8u;
    let more = slice < end;
    if (more) {
    { let u = index; let k = u / 32u; let i = u % 32u; let at = slice + k; let inside = at < end;
      a0 = select(vec4f(), A[(p.startA + min(at, p.K - 1u) * p.lda) / 4u + min(row0 / 4u + i, p.M / 4u - 1u)], inside); }
    { let u = index; let k = u / 32u; let i = u % 32u; let at = slice + k; let inside = at < end;
      b0 = select(vec4f(), B[(p.startB + min(at, p.K - 1u) * p.ldb) / 4u + min(col0 / 4u + i, p.N / 4u - 1u)], inside); }
    }
    for (var k = 0u; k < 8u; k++) {
      let a0 = sA[half * 264u + k * 33u + 0u + y];
      let a1 = sA[half * 264u + k * 33u + 16u + y];
      let b0 = sB[half * 264u + k * 33u + 0u + x];
      let b1 = sB[half * 264u + k * 33u + 16u + x];
      c0_0 = fma(vec4f(a0.x), b0, c0_0);
      c0_1 = fma(vec4f(a0.x), b1, c0_1);
      c1_0 = fma(vec4f(a0.y), b0, c1_0);
      c1_1 = fma(vec4f(a0.y), b1, c1_1);
      c2_0 = fma(vec4f(a0.z), b0, c2_0);
      c2_1 = fma(vec4f(a0.z), b1, c2_1);
      c3_0 = fma(vec4f(a0.w), b0, c3_0);
      c3_1 = fma(vec4f(a0.w), b1, c3_1);
      c4_0 = fma(vec4f(a1.x), b0, c4_0);
      c4_1 = fma(vec4f(a1.x), b1, c4_1);
      c5_0 = fma(vec4f(a1.y), b0, c5_0);
      c5_1 = fma(vec4f(a1.y), b1, c5_1);
      c6_0 = fma(vec4f(a1.z), b0, c6_0);
      c6_1 = fma(vec4f(a1.z), b1, c6_1);
      c7_0 = fma(vec4f(a1.w), b0, c7_0);
      c7_1 = fma(vec4f(a1.w), b1, c7_1);
    }
    half = 1u - half;
    if (more) {
    { let u = index; let k = u / 32u; let i = u % 32u; sA[half * 264u + k * 33u + i] = a0; }
    { let u = index; let k = u / 32u; let i = u % 32u; sB[half * 264u + k * 33u + i] = b0; }
    }
    workgroupBarrier();
  }
  store(row0 + 0u + y * 4u, col0 / 4u + 0u + x, c0_0, group.z); store(row0 + 0u + y * 4u, col0 / 4u + 16u + x, c0_1, group.z);
  store(row0 + 1u + y * 4u, col0 / 4u + 0u + x, c1_0, group.z); store(row0 + 1u + y * 4u, col0 / 4u + 16u + x, c1_1, group.z);
  store(row0 + 2u + y * 4u, col0 / 4u + 0u + x, c2_0, group.z); store(row0 + 2u + y * 4u, col0 / 4u + 16u + x, c2_1, group.z);
  store(row0 + 3u + y * 4u, col0 / 4u + 0u + x, c3_0, group.z); store(row0 + 3u + y * 4u, col0 / 4u + 16u + x, c3_1, group.z);
  store(row0 + 64u + y * 4u, col0 / 4u + 0u + x, c4_0, group.z); store(row0 + 64u + y * 4u, col0 / 4u + 16u + x, c4_1, group.z);
  store(row0 + 65u + y * 4u, col0 / 4u + 0u + x, c5_0, group.z); store(row0 + 65u + y * 4u, col0 / 4u + 16u + x, c5_1, group.z);
  store(row0 + 66u + y * 4u, col0 / 4u + 0u + x, c6_0, group.z); store(row0 + 66u + y * 4u, col0 / 4u + 16u + x, c6_1, group.z);
  store(row0 + 67u + y * 4u, col0 / 4u + 0u + x, c7_0, group.z); store(row0 + 67u + y * 4u, col0 / 4u + 16u + x, c7_1, group.z);
}
