// matrix units, by the largest shape of subgroup matrices that the adapter lists
// a GPU: a=f16 b=f16 c=f16 gelu=false transA=false transB=true
enable subgroups;
enable f16;
enable chromium_experimental_subgroup_matrix;
requires immediate_address_space;
alias Half2 = u32;
alias Half4 = vec2u;
alias Half8 = vec4u;
fn unpackHalves(v: vec2u) -> vec4f { return vec4f(unpack2x16float(v.x), unpack2x16float(v.y)); }
fn packHalves(v: vec4f) -> vec2u {
  // Signed integers: below 2^31 they compare alike, and CPUs have no other comparison in vectors.
  let bits = bitcast<vec4i>(v);
  let size = bits & vec4i(0x7fffffff);
  // Rebias the exponent and round away 13 bits of mantissa, ties to even; a carry walks into the exponent.
  let normal = (size + (vec4i(0xfff - 0x38000000) + ((size >> vec4u(13u)) & vec4i(1)))) >> vec4u(13u);
  // Below 2^-14: units of 2^-24, which are those of numbers from 0.5 on.
  let small = bitcast<vec4i>(bitcast<vec4f>(size) + 0.5) - vec4i(0x3f000000);
  // From 65520 on: infinity; and what is no number stays none.
  let large = select(vec4i(0x7c00), vec4i(0x7e00), size > vec4i(0x7f800000));
  let half = select(select(normal, small, size < vec4i(0x38800000)), large, size >= vec4i(0x477ff000));
  let h = bitcast<vec4u>(half | ((bits >> vec4u(16u)) & vec4i(0x8000)));
  return vec2u(h.x | (h.y << 16u), h.z | (h.w << 16u));
}
struct Params { M: u32, N: u32, K: u32, lda: u32, ldb: u32, ldc: u32, startA: u32, startB: u32, startC: u32, hasBias: u32, accumulate: u32, depth: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> A: array<Half8>;
@group(0) @binding(1) var<storage, read> B: array<Half8>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> outC: array<Half4>;

var<workgroup> S: array<vec4u, 1920>;

fn finish(at: u32, v: u32, value: vec4f) {
  var sum = value;
  if (p.hasBias != 0u) { sum += bias[v]; }
  if (p.accumulate != 0u) { sum += unpackHalves(outC[at]); }
  
  outC[at] = packHalves(sum);
}
fn store(row: u32, v: u32, sum: vec4f, part: u32) {
  if (row < p.M && v < p.N / 4u) { finish((p.startC + row * p.ldc) / 4u + v, v, sum); }
}
@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) index: u32,
  @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) lane: u32, @builtin(subgroup_size) laneCount: u32) {
  let rowTiles = (p.M + 127u) / 128u;
  let colTiles = (p.N + 63u) / 64u;
  let tile = group.y * groups.x + group.x;
  if (tile >= rowTiles * colTiles) { return; }
  let band = tile / (rowTiles * 16u);
  let inBand = tile % (rowTiles * 16u);
  let bandTiles = min(16u, colTiles - band * 16u);
  let row0 = inBand / bandTiles * 128u;
  let col0 = (band * 16u + inBand % bandTiles) * 64u;
  let first = group.z * p.depth;
  let end = min(p.K, first + p.depth);
  let areaRow = subgroup / 2u * 64u;
  let areaColumn = subgroup % 2u * 32u;
  var c0_0: subgroup_matrix_result<f32, 16, 16>; var c0_1: subgroup_matrix_result<f32, 16, 16>;
  var c1_0: subgroup_matrix_result<f32, 16, 16>; var c1_1: subgroup_matrix_result<f32, 16, 16>;
  var c2_0: subgroup_matrix_result<f32, 16, 16>; var c2_1: subgroup_matrix_result<f32, 16, 16>;
  var c3_0: subgroup_matrix_result<f32, 16, 16>; var c3_1: subgroup_matrix_result<f32, 16, 16>;
  var a0: vec4u; var a1: vec4u; var a2: vec4u; var a3: vec4u;
  var b0: vec4u; var b1: vec4u;
  var slice = first;
  var half = 0u;
  {
    { let u = index; let line = row0 + u / 4u; let at = slice + u % 4u * 8u; a0 = vec4u(); if (line < p.M && at < end) { a0 = A[(p.startA + line * p.lda + at) / 8u]; } }
    { let u = index + 128u; let line = row0 + u / 4u; let at = slice + u % 4u * 8u; a1 = vec4u(); if (line < p.M && at < end) { a1 = A[(p.startA + line * p.lda + at) / 8u]; } }
    { let u = index + 256u; let line = row0 + u / 4u; let at = slice + u % 4u * 8u; a2 = vec4u(); if (line < p.M && at < end) { a2 = A[(p.startA + line * p.lda + at) / 8u]; } }
    { let u = index + 384u; let line = row0 + u / 4u; let at = slice + u % 4u * 8u; a3 = vec4u(); if (line < p.M && at < end) { a3 = A[(p.startA + line * p.lda + at) / 8u]; } }
    { let u = index; let line = col0 + u / 4u; let at = slice + u % 4u * 8u; b0 = vec4u(); if (line < p.N && at < end) { b0 = B[(p.startB + line * p.ldb + at) / 8u]; } }
    { let u = index + 128u; let line = col0 + u / 4u; let at = slice + u % 4u * 8u; b1 = vec4u(); if (line < p.N && at < end) { b1 = B[(p.startB + line * p.ldb + at) / 8u]; } }
    { let u = index; S[half * 640u + u / 4u * 5u + u % 4u] = a0; }
    { let u = index + 128u; S[half * 640u + u / 4u * 5u + u % 4u] = a1; }
    { let u = index + 256u; S[half * 640u + u / 4u * 5u + u % 4u] = a2; }
    { let u = index + 384u; S[half * 640u + u / 4u * 5u + u % 4u] = a3; }
    { let u = index; S[1280u + half * 320u + u / 4u * 5u + u % 4u] = b0; }
    { let u = index + 128u; S[1280u + half * 320u + u / 4u * 5u + u % 4u] = b1; }
  }
  workgroupBarrier();
  while (slice < end) {
    slice += 32u;
    let more = slice < end;
    if (more) {
    { let u = index; let line = row0 + u / 4u; let at = slice + u % 4u * 8u; a0 = vec4u(); if (line < p.M && at < end) { a0 = A[(p.startA + line * p.lda + at) / 8u]; } }
    { let u = index + 128u; let line = row0 + u / 4u; let at = slice + u % 4u * 8u; a1 = vec4u(); if (line < p.M && at < end) { a1 = A[(p.startA + line * p.lda + at) / 8u]; } }
    { let u = index + 256u; let line = row0 + u / 4u; let at = slice + u % 4u * 8u; a2 = vec4u(); if (line < p.M && at < end) { a2 = A[(p.startA + line * p.lda + at) / 8u]; } }
    { let u = index + 384u; let line = row0 + u / 4u; let at = slice + u % 4u * 8u; a3 = vec4u(); if (line < p.M && at < end) { a3 = A[(p.startA + line * p.lda + at) / 8u]; } }
    { let u = index; let line = col0 + u / 4u; let at = slice + u % 4u * 8u; b0 = vec4u(); if (line < p.N && at < end) { b0 = B[(p.startB + line * p.ldb + at) / 8u]; } }
    { let u = index + 128u; let line = col0 + u / 4u; let at = slice + u % 4u * 8u; b1 = vec4u(); if (line < p.N && at < end) { b1 = B[(p.startB + line * p.ldb + at) / 8u]; } }
    }
    {
      let x0 = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&S, half * 640u + (areaRow + 0u) * 5u + 0u, 5u);
      let x1 = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&S, half * 640u + (areaRow + 16u) * 5u + 0u, 5u);
      let x2 = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&S, half * 640u + (areaRow + 32u) * 5u + 0u, 5u);
      let x3 = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&S, half * 640u + (areaRow + 48u) * 5u + 0u, 5u);
      let y0 = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>(&S, 1280u + half * 320u + (areaColumn + 0u) * 5u + 0u, 5u);
      let y1 = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>(&S, 1280u + half * 320u + (areaColumn + 16u) * 5u + 0u, 5u);
      c0_0 = subgroupMatrixMultiplyAccumulate(x0, y0, c0_0); c0_1 = subgroupMatrixMultiplyAccumulate(x0, y1, c0_1);
      c1_0 = subgroupMatrixMultiplyAccumulate(x1, y0, c1_0); c1_1 = subgroupMatrixMultiplyAccumulate(x1, y1, c1_1);
      c2_0 = subgroupMatrixMultiplyAccumulate(x2, y0, c2_0); c2_1 = subgroupMatrixMultiplyAccumulate(x2, y1, c2_1);
      c3_0 = subgroupMatrixMultiplyAccumulate(x3, y0, c3_0); c3_1 = subgroupMatrixMultiplyAccumulate(x3, y1, c3_1);
    }
    {
      let x0 = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&S, half * 640u + (areaRow + 0u) * 5u + 2u, 5u);
      let x1 = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&S, half * 640u + (areaRow + 16u) * 5u + 2u, 5u);
      let x2 = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&S, half * 640u + (areaRow + 32u) * 5u + 2u, 5u);
      let x3 = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&S, half * 640u + (areaRow + 48u) * 5u + 2u, 5u);
      let y0 = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>(&S, 1280u + half * 320u + (areaColumn + 0u) * 5u + 2u, 5u);
      let y1 = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>(&S, 1280u + half * 320u + (areaColumn + 16u) * 5u + 2u, 5u);
      c0_0 = subgroupMatrixMultiplyAccumulate(x0, y0, c0_0); c0_1 = subgroupMatrixMultiplyAccumulate(x0, y1, c0_1);
      c1_0 = subgroupMatrixMultiplyAccumulate(x1, y0, c1_0); c1_1 = subgroupMatrixMultiplyAccumulate(x1, y1, c1_1);
      c2_0 = subgroupMatrixMultiplyAccumulate(x2, y0, c2_0); c2_1 = subgroupMatrixMultiplyAccumulate(x2, y1, c2_1);
      c3_0 = subgroupMatrixMultiplyAccumulate(x3, y0, c3_0); c3_1 = subgroupMatrixMultiplyAccumulate(x3, y1, c3_1);
    }
    half = 1u - half;
    if (more) {
    { let u = index; S[half * 640u + u / 4u * 5u + u % 4u] = a0; }
    { let u = index + 128u; S[half * 640u + u / 4u * 5u + u % 4u] = a1; }
    { let u = index + 256u; S[half * 640u + u / 4u * 5u + u % 4u] = a2; }
    { let u = index + 384u; S[half * 640u + u / 4u * 5u + u % 4u] = a3; }
    { let u = index; S[1280u + half * 320u + u / 4u * 5u + u % 4u] = b0; }
    { let u = index + 128u; S[1280u + half * 320u + u / 4u * 5u + u % 4u] = b1; }
    }
    workgroupBarrier();
  }
  let band0 = 0u + subgroup * 144u;
  subgroupMatrixStore<row_major>(&S, band0 + 0u, c0_0, 9u);
    subgroupMatrixStore<row_major>(&S, band0 + 4u, c0_1, 9u);
  workgroupBarrier();
  for (var t = lane; t < 128u; t += laneCount) {
    let value = bitcast<vec4f>(S[band0 + t / 8u * 9u + t % 8u]);
    store(row0 + areaRow + 0u + t / 8u, (col0 + areaColumn) / 4u + t % 8u, value, group.z);
  }
  let band1 = 576u + subgroup * 144u;
  subgroupMatrixStore<row_major>(&S, band1 + 0u, c1_0, 9u);
    subgroupMatrixStore<row_major>(&S, band1 + 4u, c1_1, 9u);
  workgroupBarrier();
  for (var t = lane; t < 128u; t += laneCount) {
    let value = bitcast<vec4f>(S[band1 + t / 8u * 9u + t % 8u]);
    store(row0 + areaRow + 16u + t / 8u, (col0 + areaColumn) / 4u + t % 8u, value, group.z);
  }
  let band2 = 0u + subgroup * 144u;
  subgroupMatrixStore<row_major>(&S, band2 + 0u, c2_0, 9u);
    subgroupMatrixStore<row_major>(&S, band2 + 4u, c2_1, 9u);
  workgroupBarrier();
  for (var t = lane; t < 128u; t += laneCount) {
    let value = bitcast<vec4f>(S[band2 + t / 8u * 9u + t % 8u]);
    store(row0 + areaRow + 32u + t / 8u, (col0 + areaColumn) / 4u + t % 8u, value, group.z);
  }
  let band3 = 576u + subgroup * 144u;
  subgroupMatrixStore<row_major>(&S, band3 + 0u, c3_0, 9u);
    subgroupMatrixStore<row_major>(&S, band3 + 4u, c3_1, 9u);
  workgroupBarrier();
  for (var t = lane; t < 128u; t += laneCount) {
    let value = bitcast<vec4f>(S[band3 + t / 8u * 9u + t % 8u]);
    store(row0 + areaRow + 48u + t / 8u, (col0 + areaColumn) / 4u + t % 8u, value, group.z);
  }
}
