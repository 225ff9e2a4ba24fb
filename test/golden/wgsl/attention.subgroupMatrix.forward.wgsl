// halves on matrix units: products of subgroup matrices f16 → f32, softmax between them in f32
// a GPU: dropout=false dtype=f16 headDim=32
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
struct Params { stride: u32, hidden4: u32, heads: u32, base: u32, firstTile: u32, firstHead: u32, scale: f32, threshold: u32, keepScale: f32, seed: u32, stream: u32, firstRow: u32, block: u32, minusInfinity: f32, foldShift: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> QKV: array<Half8>;
@group(0) @binding(1) var<storage, read> tiles: array<vec4u>;
@group(0) @binding(2) var<storage, read_write> outO: array<Half4>;
@group(0) @binding(3) var<storage, read_write> outL: array<f32>;


var<workgroup> own: array<vec4u, 320>;
var<workgroup> other: array<vec4u, 160>;
var<workgroup> scores: array<vec4f, 576>;
var<workgroup> weights: array<vec2u, 640>;
var<workgroup> told: array<f32, 512>;
var<workgroup> rest: array<vec2u, 640>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32, @builtin(subgroup_id) subgroup: u32) {
  let tile = tiles[p.firstTile + group.x];
  let begin = tile.x - p.base; let end = tile.y - p.base; let first = tile.z - p.base;
  let head = group.y;
  let column = head * 8u;
  let works = subgroup < 4u;
  // The subgroup's first row, and this thread's, within the tile.
  let area = subgroup * 16u;
  let own0 = lane / 8u * 4u;
  let tx = lane % 8u;
  let row = first + own0;
  var m0 = -0x1.fffffep+127; var l0 = 0.0; var o0_0 = vec4f();
  var m1 = -0x1.fffffep+127; var l1 = 0.0; var o1_0 = vec4f();
  var m2 = -0x1.fffffep+127; var l2 = 0.0; var o2_0 = vec4f();
  var m3 = -0x1.fffffep+127; var l3 = 0.0; var o3_0 = vec4f();
  for (var i = lane; i < 256u; i += 128u) {
      let n = i / 4u;
      let e = i % 4u;
      let at = first + n;
      var unit = vec4u();
      if (at < end && e < 4u) { unit = QKV[(at * p.stride + column) / 2u + e]; }
      own[n * 5u + e] = unit;
    }
  for (var block = begin; block < end; block += 32u) {
    let mine = block + 4u * tx;
    let real = vec4u(mine) + vec4u(0u, 1u, 2u, 3u) < vec4u(end);
    for (var i = lane; i < 128u; i += 128u) {
      let n = i / 4u;
      let e = i % 4u;
      let at = block + n;
      var unit = vec4u();
      if (at < end && e < 4u) { unit = QKV[(at * p.stride + p.hidden4 + column) / 2u + e]; }
      other[n * 5u + e] = unit;
    }
    workgroupBarrier();
    if (works) {
      var sum0_0 = subgroup_matrix_result<f32, 16, 16>(); var sum0_1 = subgroup_matrix_result<f32, 16, 16>();
      for (var k = 0u; k < 2u; k++) {
        let a0 = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&own, (area + 0u) * 5u + k * 2u, 5u);
        { let b = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>(&other, 0u + k * 2u, 5u);
          sum0_0 = subgroupMatrixMultiplyAccumulate(a0, b, sum0_0); }
        { let b = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>(&other, 80u + k * 2u, 5u);
          sum0_1 = subgroupMatrixMultiplyAccumulate(a0, b, sum0_1); }
      }
      subgroupMatrixStore<row_major>(&scores, (area + 0u) * 9u + 0u, sum0_0, 9u); subgroupMatrixStore<row_major>(&scores, (area + 0u) * 9u + 4u, sum0_1, 9u);
    }
    workgroupBarrier();
    var s0 = scores[(own0 + 0u) * 9u + tx]; var s1 = scores[(own0 + 1u) * 9u + tx]; var s2 = scores[(own0 + 2u) * 9u + tx]; var s3 = scores[(own0 + 3u) * 9u + tx];
    for (var i = lane; i < 128u; i += 128u) {
      let n = i / 4u;
      let e = i % 4u;
      let at = block + n;
      var unit = vec4u();
      if (at < end && e < 4u) { unit = QKV[(at * p.stride + 2u * p.hidden4 + column) / 2u + e]; }
      other[n * 5u + e] = unit;
    }
    s0 = select(vec4f(p.minusInfinity), s0 * (p.scale * 1.4426950408889634), real); s1 = select(vec4f(p.minusInfinity), s1 * (p.scale * 1.4426950408889634), real); s2 = select(vec4f(p.minusInfinity), s2 * (p.scale * 1.4426950408889634), real); s3 = select(vec4f(p.minusInfinity), s3 * (p.scale * 1.4426950408889634), real);
    told[(own0 + 0u) * 8u + tx] = max(max(s0.x, s0.y), max(s0.z, s0.w)); told[(own0 + 1u) * 8u + tx] = max(max(s1.x, s1.y), max(s1.z, s1.w)); told[(own0 + 2u) * 8u + tx] = max(max(s2.x, s2.y), max(s2.z, s2.w)); told[(own0 + 3u) * 8u + tx] = max(max(s3.x, s3.y), max(s3.z, s3.w));
    workgroupBarrier();
    var top0 = m0; top0 = max(top0, told[(own0 + 0u) * 8u + 0u]); top0 = max(top0, told[(own0 + 0u) * 8u + 1u]); top0 = max(top0, told[(own0 + 0u) * 8u + 2u]); top0 = max(top0, told[(own0 + 0u) * 8u + 3u]); top0 = max(top0, told[(own0 + 0u) * 8u + 4u]); top0 = max(top0, told[(own0 + 0u) * 8u + 5u]); top0 = max(top0, told[(own0 + 0u) * 8u + 6u]); top0 = max(top0, told[(own0 + 0u) * 8u + 7u]);
    let shrink0 = exp2(m0 - top0); m0 = top0;
    s0 = exp2(s0 - top0);
    l0 = l0 * shrink0 + dot(s0, vec4f(1.0));
    var top1 = m1; top1 = max(top1, told[(own0 + 1u) * 8u + 0u]); top1 = max(top1, told[(own0 + 1u) * 8u + 1u]); top1 = max(top1, told[(own0 + 1u) * 8u + 2u]); top1 = max(top1, told[(own0 + 1u) * 8u + 3u]); top1 = max(top1, told[(own0 + 1u) * 8u + 4u]); top1 = max(top1, told[(own0 + 1u) * 8u + 5u]); top1 = max(top1, told[(own0 + 1u) * 8u + 6u]); top1 = max(top1, told[(own0 + 1u) * 8u + 7u]);
    let shrink1 = exp2(m1 - top1); m1 = top1;
    s1 = exp2(s1 - top1);
    l1 = l1 * shrink1 + dot(s1, vec4f(1.0));
    var top2 = m2; top2 = max(top2, told[(own0 + 2u) * 8u + 0u]); top2 = max(top2, told[(own0 + 2u) * 8u + 1u]); top2 = max(top2, told[(own0 + 2u) * 8u + 2u]); top2 = max(top2, told[(own0 + 2u) * 8u + 3u]); top2 = max(top2, told[(own0 + 2u) * 8u + 4u]); top2 = max(top2, told[(own0 + 2u) * 8u + 5u]); top2 = max(top2, told[(own0 + 2u) * 8u + 6u]); top2 = max(top2, told[(own0 + 2u) * 8u + 7u]);
    let shrink2 = exp2(m2 - top2); m2 = top2;
    s2 = exp2(s2 - top2);
    l2 = l2 * shrink2 + dot(s2, vec4f(1.0));
    var top3 = m3; top3 = max(top3, told[(own0 + 3u) * 8u + 0u]); top3 = max(top3, told[(own0 + 3u) * 8u + 1u]); top3 = max(top3, told[(own0 + 3u) * 8u + 2u]); top3 = max(top3, told[(own0 + 3u) * 8u + 3u]); top3 = max(top3, told[(own0 + 3u) * 8u + 4u]); top3 = max(top3, told[(own0 + 3u) * 8u + 5u]); top3 = max(top3, told[(own0 + 3u) * 8u + 6u]); top3 = max(top3, told[(own0 + 3u) * 8u + 7u]);
    let shrink3 = exp2(m3 - top3); m3 = top3;
    s3 = exp2(s3 - top3);
    l3 = l3 * shrink3 + dot(s3, vec4f(1.0));
    
    { let at = (own0 + 0u) * 10u + tx; let halves = packHalves(s0); weights[at] = halves; rest[at] = packHalves(s0 - unpackHalves(halves)); } { let at = (own0 + 1u) * 10u + tx; let halves = packHalves(s1); weights[at] = halves; rest[at] = packHalves(s1 - unpackHalves(halves)); } { let at = (own0 + 2u) * 10u + tx; let halves = packHalves(s2); weights[at] = halves; rest[at] = packHalves(s2 - unpackHalves(halves)); } { let at = (own0 + 3u) * 10u + tx; let halves = packHalves(s3); weights[at] = halves; rest[at] = packHalves(s3 - unpackHalves(halves)); }
    workgroupBarrier();
    if (works) {
      var sum0_0 = subgroup_matrix_result<f32, 16, 16>(); var sum0_1 = subgroup_matrix_result<f32, 16, 16>();
      for (var k = 0u; k < 2u; k++) {
        let weights0 = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&weights, (area + 0u) * 10u + k * 4u, 10u);
        let rest0 = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&rest, (area + 0u) * 10u + k * 4u, 10u);
        { let b = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&other, k * 80u + 0u, 5u);
          sum0_0 = subgroupMatrixMultiplyAccumulate(weights0, b, sum0_0); sum0_0 = subgroupMatrixMultiplyAccumulate(rest0, b, sum0_0); }
        { let b = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&other, k * 80u + 2u, 5u);
          sum0_1 = subgroupMatrixMultiplyAccumulate(weights0, b, sum0_1); sum0_1 = subgroupMatrixMultiplyAccumulate(rest0, b, sum0_1); }
      }
      subgroupMatrixStore<row_major>(&scores, (area + 0u) * 9u + 0u, sum0_0, 9u); subgroupMatrixStore<row_major>(&scores, (area + 0u) * 9u + 4u, sum0_1, 9u);
    }
    workgroupBarrier();
    o0_0 = o0_0 * shrink0 + scores[(own0 + 0u) * 9u + tx]; o1_0 = o1_0 * shrink1 + scores[(own0 + 1u) * 9u + tx]; o2_0 = o2_0 * shrink2 + scores[(own0 + 2u) * 9u + tx]; o3_0 = o3_0 * shrink3 + scores[(own0 + 3u) * 9u + tx];
    workgroupBarrier();
  }
  told[(own0 + 0u) * 8u + tx] = l0; told[(own0 + 1u) * 8u + tx] = l1; told[(own0 + 2u) * 8u + tx] = l2; told[(own0 + 3u) * 8u + tx] = l3;
    workgroupBarrier();
  l0 = 0.0; l0 += told[(own0 + 0u) * 8u + 0u]; l0 += told[(own0 + 0u) * 8u + 1u]; l0 += told[(own0 + 0u) * 8u + 2u]; l0 += told[(own0 + 0u) * 8u + 3u]; l0 += told[(own0 + 0u) * 8u + 4u]; l0 += told[(own0 + 0u) * 8u + 5u]; l0 += told[(own0 + 0u) * 8u + 6u]; l0 += told[(own0 + 0u) * 8u + 7u];
  if (row + 0u < end) {
    if (0u + tx < 8u) { outO[(row + 0u) * p.hidden4 + column + 0u + tx] = packHalves(o0_0 / select(l0, 1.0, l0 == 0.0)); }
    if (tx == 0u) { outL[(row + 0u) * p.heads + head] = select(m0 + log2(l0), -p.minusInfinity, l0 == 0.0); }
  }
  l1 = 0.0; l1 += told[(own0 + 1u) * 8u + 0u]; l1 += told[(own0 + 1u) * 8u + 1u]; l1 += told[(own0 + 1u) * 8u + 2u]; l1 += told[(own0 + 1u) * 8u + 3u]; l1 += told[(own0 + 1u) * 8u + 4u]; l1 += told[(own0 + 1u) * 8u + 5u]; l1 += told[(own0 + 1u) * 8u + 6u]; l1 += told[(own0 + 1u) * 8u + 7u];
  if (row + 1u < end) {
    if (0u + tx < 8u) { outO[(row + 1u) * p.hidden4 + column + 0u + tx] = packHalves(o1_0 / select(l1, 1.0, l1 == 0.0)); }
    if (tx == 0u) { outL[(row + 1u) * p.heads + head] = select(m1 + log2(l1), -p.minusInfinity, l1 == 0.0); }
  }
  l2 = 0.0; l2 += told[(own0 + 2u) * 8u + 0u]; l2 += told[(own0 + 2u) * 8u + 1u]; l2 += told[(own0 + 2u) * 8u + 2u]; l2 += told[(own0 + 2u) * 8u + 3u]; l2 += told[(own0 + 2u) * 8u + 4u]; l2 += told[(own0 + 2u) * 8u + 5u]; l2 += told[(own0 + 2u) * 8u + 6u]; l2 += told[(own0 + 2u) * 8u + 7u];
  if (row + 2u < end) {
    if (0u + tx < 8u) { outO[(row + 2u) * p.hidden4 + column + 0u + tx] = packHalves(o2_0 / select(l2, 1.0, l2 == 0.0)); }
    if (tx == 0u) { outL[(row + 2u) * p.heads + head] = select(m2 + log2(l2), -p.minusInfinity, l2 == 0.0); }
  }
  l3 = 0.0; l3 += told[(own0 + 3u) * 8u + 0u]; l3 += told[(own0 + 3u) * 8u + 1u]; l3 += told[(own0 + 3u) * 8u + 2u]; l3 += told[(own0 + 3u) * 8u + 3u]; l3 += told[(own0 + 3u) * 8u + 4u]; l3 += told[(own0 + 3u) * 8u + 5u]; l3 += told[(own0 + 3u) * 8u + 6u]; l3 += told[(own0 + 3u) * 8u + 7u];
  if (row + 3u < end) {
    if (0u + tx < 8u) { outO[(row + 3u) * p.hidden4 + column + 0u + tx] = packHalves(o3_0 / select(l3, 1.0, l3 == 0.0)); }
    if (tx == 0u) { outL[(row + 3u) * p.heads + head] = select(m3 + log2(l3), -p.minusInfinity, l3 == 0.0); }
  }
}
