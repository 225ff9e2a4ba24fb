// few tiles and a long K: workgroups share K, and a second kernel adds their sums in order
// a CPU: a=f32 b=f32 c=f32 gelu=false transA=false transB=true
requires immediate_address_space;
struct Params { M: u32, N: u32, K: u32, lda: u32, ldb: u32, ldc: u32, startA: u32, startB: u32, startC: u32, hasBias: u32, accumulate: u32, depth: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> A: array<vec4f>;
@group(0) @binding(1) var<storage, read> B: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> outC: array<vec4f>;

var<workgroup> sA: array<vec4f, 544>;
var<workgroup> sB: array<vec4f, 544>;
fn store(row: u32, v: u32, sum: vec4f, part: u32) {
  if (row < p.M && v < p.N / 4u) { outC[(part * p.M + row) * (p.N / 4u) + v] = sum; }
}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) index: u32) {
  let rowTiles = (p.M + 63u) / 64u;
  let colTiles = (p.N + 63u) / 64u;
  let tile = group.y * groups.x + group.x;
  if (tile >= rowTiles * colTiles) { return; }
  let band = tile / (rowTiles * 16u);
  let inBand = tile % (rowTiles * 16u);
  let bandTiles = min(16u, colTiles - band * 16u);
  let row0 = inBand / bandTiles * 64u;
  let col0 = (band * 16u + inBand % bandTiles) * 64u;
  let first = group.z * p.depth;
  let end = min(p.K, first + p.depth);
  let x = index % 8u;
  let y = index / 8u;
  var c0_0: vec4f; var c0_1: vec4f; var c1_0: vec4f; var c1_1: vec4f; var c2_0: vec4f; var c2_1: vec4f; var c3_0: vec4f; var c3_1: vec4f; var c4_0: vec4f; var c4_1: vec4f; var c5_0: vec4f; var c5_1: vec4f; var c6_0: vec4f; var c6_1: vec4f; var c7_0: vec4f; var c7_1: vec4f;
  var a0_0: vec4f; var a0_1: vec4f; var a0_2: vec4f; var a0_3: vec4f;
  var b0_0: vec4f; var b0_1: vec4f; var b0_2: vec4f; var b0_3: vec4f;
  var slice = first;
  var half = 0u;
  {
    { let u = index; let i = u / 4u * 4u; let k = u % 4u * 4u; let at = slice + k; let inside = at < end; let v = min(at, p.K - 4u) / 4u;
      a0_0 = select(vec4f(), A[(p.startA + min(row0 + i + 0u, p.M - 1u) * p.lda) / 4u + v], inside);
      a0_1 = select(vec4f(), A[(p.startA + min(row0 + i + 1u, p.M - 1u) * p.lda) / 4u + v], inside);
      a0_2 = select(vec4f(), A[(p.startA + min(row0 + i + 2u, p.M - 1u) * p.lda) / 4u + v], inside);
      a0_3 = select(vec4f(), A[(p.startA + min(row0 + i + 3u, p.M - 1u) * p.lda) / 4u + v], inside); }
    { let u = index; let i = u / 4u * 4u; let k = u % 4u * 4u; let at = slice + k; let inside = at < end; let v = min(at, p.K - 4u) / 4u;
      b0_0 = select(vec4f(), B[(p.startB + min(col0 + i + 0u, p.N - 1u) * p.ldb) / 4u + v], inside);
      b0_1 = select(vec4f(), B[(p.startB + min(col0 + i + 1u, p.N - 1u) * p.ldb) / 4u + v], inside);
      b0_2 = select(vec4f(), B[(p.startB + min(col0 + i + 2u, p.N - 1u) * p.ldb) / 4u + v], inside);
      b0_3 = select(vec4f(), B[(p.startB + min(col0 + i + 3u, p.N - 1u) * p.ldb) / 4u + v], inside); }
    { let u = index; let i = u / 4u * 4u; let k = u % 4u * 4u; let at = half * 272u + k * 17u + i / 4u;
      let r0 = a0_0; let r1 = a0_1; let r2 = a0_2; let r3 = a0_3;
      sA[at + 0u] = vec4f(r0.x, r1.x, r2.x, r3.x);
      sA[at + 17u] = vec4f(r0.y, r1.y, r2.y, r3.y);
      sA[at + 34u] = vec4f(r0.z, r1.z, r2.z, r3.z);
      sA[at + 51u] = vec4f(r0.w, r1.w, r2.w, r3.w); }
    { let u = index; let i = u / 4u * 4u; let k = u % 4u * 4u; let at = half * 272u + k * 17u + i / 4u;
      let r0 = b0_0; let r1 = b0_1; let r2 = b0_2; let r3 = b0_3;
      sB[at + 0u] = vec4f(r0.x, r1.x, r2.x, r3.x);
      sB[at + 17u] = vec4f(r0.y, r1.y, r2.y, r3.y);
      sB[at + 34u] = vec4f(r0.z, r1.z, r2.z, r3.z);
      sB[at + 51u] = vec4f(r0.w, r1.w, r2.w, r3.w); }
  }
  workgroupBarrier();
  while (slice < end) {
    slice += 16u;
    let more = slice < end;
    if (more) {
    { let u = index; let i = u / 4u * 4u; let k = u % 4u * 4u; let at = slice + k; let inside = at < end; let v = min(at, p.K - 4u) / 4u;
      a0_0 = select(vec4f(), A[(p.startA + min(row0 + i + 0u, p.M - 1u) * p.lda) / 4u + v], inside);
      a0_1 = select(vec4f(), A[(p.startA + min(row0 + i + 1u, p.M - 1u) * p.lda) / 4u + v], inside);
      a0_2 = select(vec4f(), A[(p.startA + min(row0 + i + 2u, p.M - 1u) * p.lda) / 4u + v], inside);
      a0_3 = select(vec4f(), A[(p.startA + min(row0 + i + 3u, p.M - 1u) * p.lda) / 4u + v], inside); }
    { let u = index; let i = u / 4u * 4u; let k = u % 4u * 4u; let at = slice + k; let inside = at < end; let v = min(at, p.K - 4u) / 4u;
      b0_0 = select(vec4f(), B[(p.startB + min(col0 + i + 0u, p.N - 1u) * p.ldb) / 4u + v], inside);
      b0_1 = select(vec4f(), B[(p.startB + min(col0 + i + 1u, p.N - 1u) * p.ldb) / 4u + v], inside);
      b0_2 = select(vec4f(), B[(p.startB + min(col0 + i + 2u, p.N - 1u) * p.ldb) / 4u + v], inside);
      b0_3 = select(vec4f(), B[(p.startB + min(col0 + i + 3u, p.N - 1u) * p.ldb) / 4u + v], inside); }
    }
    for (var k = 0u; k < 16u; k++) {
      let a0 = sA[half * 272u + k * 17u + 0u + y];
      let a1 = sA[half * 272u + k * 17u + 8u + y];
      let b0 = sB[half * 272u + k * 17u + 0u + x];
      let b1 = sB[half * 272u + k * 17u + 8u + x];
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
    { let u = index; let i = u / 4u * 4u; let k = u % 4u * 4u; let at = half * 272u + k * 17u + i / 4u;
      let r0 = a0_0; let r1 = a0_1; let r2 = a0_2; let r3 = a0_3;
      sA[at + 0u] = vec4f(r0.x, r1.x, r2.x, r3.x);
      sA[at + 17u] = vec4f(r0.y, r1.y, r2.y, r3.y);
      sA[at + 34u] = vec4f(r0.z, r1.z, r2.z, r3.z);
      sA[at + 51u] = vec4f(r0.w, r1.w, r2.w, r3.w); }
    { let u = index; let i = u / 4u * 4u; let k = u % 4u * 4u; let at = half * 272u + k * 17u + i / 4u;
      let r0 = b0_0; let r1 = b0_1; let r2 = b0_2; let r3 = b0_3;
      sB[at + 0u] = vec4f(r0.x, r1.x, r2.x, r3.x);
      sB[at + 17u] = vec4f(r0.y, r1.y, r2.y, r3.y);
      sB[at + 34u] = vec4f(r0.z, r1.z, r2.z, r3.z);
      sB[at + 51u] = vec4f(r0.w, r1.w, r2.w, r3.w); }
    }
    workgroupBarrier();
  }
  store(row0 + 0u + y * 4u, col0 / 4u + 0u + x, c0_0, group.z); store(row0 + 0u + y * 4u, col0 / 4u + 8u + x, c0_1, group.z);
  store(row0 + 1u + y * 4u, col0 / 4u + 0u + x, c1_0, group.z); store(row0 + 1u + y * 4u, col0 / 4u + 8u + x, c1_1, group.z);
  store(row0 + 2u + y * 4u, col0 / 4u + 0u + x, c2_0, group.z); store(row0 + 2u + y * 4u, col0 / 4u + 8u + x, c2_1, group.z);
  store(row0 + 3u + y * 4u, col0 / 4u + 0u + x, c3_0, group.z); store(row0 + 3u + y * 4u, col0 / 4u + 8u + x, c3_1, group.z);
  store(row0 + 32u + y * 4u, col0 / 4u + 0u + x, c4_0, group.z); store(row0 + 32u + y * 4u, col0 / 4u + 8u + x, c4_1, group.z);
  store(row0 + 33u + y * 4u, col0 / 4u + 0u + x, c5_0, group.z); store(row0 + 33u + y * 4u, col0 / 4u + 8u + x, c5_1, group.z);
  store(row0 + 34u + y * 4u, col0 / 4u + 0u + x, c6_0, group.z); store(row0 + 34u + y * 4u, col0 / 4u + 8u + x, c6_1, group.z);
  store(row0 + 35u + y * 4u, col0 / 4u + 0u + x, c7_0, group.z); store(row0 + 35u + y * 4u, col0 / 4u + 8u + x, c7_1, group.z);
}
