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
@group(0) @binding(2) var<storage, read> DO: array<Half8>;
@group(0) @binding(3) var<storage, read> L: array<f32>;
@group(0) @binding(4) var<storage, read> delta: array<f32>;
@group(0) @binding(5) var<storage, read_write> outD: array<Half4>;


var<workgroup> own: array<vec4u, 320>;
var<workgroup> other: array<vec4u, 160>;
var<workgroup> scores: array<vec4f, 576>;
var<workgroup> weights: array<vec2u, 640>;
var<workgroup> told: array<f32, 512>;

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
  var dk0_0_0 = subgroup_matrix_result<f32, 16, 16>(); var dk0_0_1 = subgroup_matrix_result<f32, 16, 16>();
  var dv0_0_0 = subgroup_matrix_result<f32, 16, 16>(); var dv0_0_1 = subgroup_matrix_result<f32, 16, 16>();
  for (var block = begin; block < end; block += 32u) {
    let mine = block + 4u * tx;
    let real = vec4u(mine) + vec4u(0u, 1u, 2u, 3u) < vec4u(end);
    let lse = vec4f(L[min(mine + 0u, end - 1u) * p.heads + head], L[min(mine + 1u, end - 1u) * p.heads + head], L[min(mine + 2u, end - 1u) * p.heads + head], L[min(mine + 3u, end - 1u) * p.heads + head]);
    let rowDelta = vec4f(delta[min(mine + 0u, end - 1u) * p.heads + head], delta[min(mine + 1u, end - 1u) * p.heads + head], delta[min(mine + 2u, end - 1u) * p.heads + head], delta[min(mine + 3u, end - 1u) * p.heads + head]);
    for (var i = lane; i < 256u; i += 128u) {
      let n = i / 4u;
      let e = i % 4u;
      let at = first + n;
      var unit = vec4u();
      if (at < end && e < 4u) { unit = QKV[(at * p.stride + p.hidden4 + column) / 2u + e]; }
      own[n * 5u + e] = unit;
    }
    for (var i = lane; i < 128u; i += 128u) {
      let n = i / 4u;
      let e = i % 4u;
      let at = block + n;
      var unit = vec4u();
      if (at < end && e < 4u) { unit = QKV[(at * p.stride + column) / 2u + e]; }
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
    for (var i = lane; i < 256u; i += 128u) {
      let n = i / 4u;
      let e = i % 4u;
      let at = first + n;
      var unit = vec4u();
      if (at < end && e < 4u) { unit = QKV[(at * p.stride + 2u * p.hidden4 + column) / 2u + e]; }
      own[n * 5u + e] = unit;
    }
    for (var i = lane; i < 128u; i += 128u) {
      let n = i / 4u;
      let e = i % 4u;
      let at = block + n;
      var unit = vec4u();
      if (at < end && e < 4u) { unit = DO[(at * p.hidden4 + column) / 2u + e]; }
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
    var dp0 = scores[(own0 + 0u) * 9u + tx]; var dp1 = scores[(own0 + 1u) * 9u + tx]; var dp2 = scores[(own0 + 2u) * 9u + tx]; var dp3 = scores[(own0 + 3u) * 9u + tx];
    
    s0 = select(vec4f(), exp2(s0 * (p.scale * 1.4426950408889634) - lse), real);
    dp0 = s0 * (dp0 - rowDelta) * p.scale;
    
    s1 = select(vec4f(), exp2(s1 * (p.scale * 1.4426950408889634) - lse), real);
    dp1 = s1 * (dp1 - rowDelta) * p.scale;
    
    s2 = select(vec4f(), exp2(s2 * (p.scale * 1.4426950408889634) - lse), real);
    dp2 = s2 * (dp2 - rowDelta) * p.scale;
    
    s3 = select(vec4f(), exp2(s3 * (p.scale * 1.4426950408889634) - lse), real);
    dp3 = s3 * (dp3 - rowDelta) * p.scale;
    
    weights[(own0 + 0u) * 10u + tx] = packHalves(s0); weights[(own0 + 1u) * 10u + tx] = packHalves(s1); weights[(own0 + 2u) * 10u + tx] = packHalves(s2); weights[(own0 + 3u) * 10u + tx] = packHalves(s3);
    workgroupBarrier();
    if (works) {
      for (var k = 0u; k < 2u; k++) {
        let weights0 = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&weights, (area + 0u) * 10u + k * 4u, 10u);
        { let b = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&other, k * 80u + 0u, 5u);
          dv0_0_0 = subgroupMatrixMultiplyAccumulate(weights0, b, dv0_0_0); }
        { let b = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&other, k * 80u + 2u, 5u);
          dv0_0_1 = subgroupMatrixMultiplyAccumulate(weights0, b, dv0_0_1); }
      }
    }
    workgroupBarrier();
    weights[(own0 + 0u) * 10u + tx] = packHalves(dp0); weights[(own0 + 1u) * 10u + tx] = packHalves(dp1); weights[(own0 + 2u) * 10u + tx] = packHalves(dp2); weights[(own0 + 3u) * 10u + tx] = packHalves(dp3);
    for (var i = lane; i < 128u; i += 128u) {
      let n = i / 4u;
      let e = i % 4u;
      let at = block + n;
      var unit = vec4u();
      if (at < end && e < 4u) { unit = QKV[(at * p.stride + column) / 2u + e]; }
      other[n * 5u + e] = unit;
    }
    workgroupBarrier();
    if (works) {
      for (var k = 0u; k < 2u; k++) {
        let weights0 = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&weights, (area + 0u) * 10u + k * 4u, 10u);
        { let b = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&other, k * 80u + 0u, 5u);
          dk0_0_0 = subgroupMatrixMultiplyAccumulate(weights0, b, dk0_0_0); }
        { let b = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&other, k * 80u + 2u, 5u);
          dk0_0_1 = subgroupMatrixMultiplyAccumulate(weights0, b, dk0_0_1); }
      }
    }
    workgroupBarrier();
  }
  if (works) {
    subgroupMatrixStore<row_major>(&scores, (area + 0u) * 9u + 0u, dk0_0_0, 9u); subgroupMatrixStore<row_major>(&scores, (area + 0u) * 9u + 4u, dk0_0_1, 9u);
  }
  workgroupBarrier();
  if (0u + tx < 8u) {
    if (row + 0u < end) { outD[(row + 0u) * p.stride + p.hidden4 + column + 0u + tx] = packHalves(scores[(own0 + 0u) * 9u + tx]); } if (row + 1u < end) { outD[(row + 1u) * p.stride + p.hidden4 + column + 0u + tx] = packHalves(scores[(own0 + 1u) * 9u + tx]); } if (row + 2u < end) { outD[(row + 2u) * p.stride + p.hidden4 + column + 0u + tx] = packHalves(scores[(own0 + 2u) * 9u + tx]); } if (row + 3u < end) { outD[(row + 3u) * p.stride + p.hidden4 + column + 0u + tx] = packHalves(scores[(own0 + 3u) * 9u + tx]); }
  }
  workgroupBarrier();
  if (works) {
    subgroupMatrixStore<row_major>(&scores, (area + 0u) * 9u + 0u, dv0_0_0, 9u); subgroupMatrixStore<row_major>(&scores, (area + 0u) * 9u + 4u, dv0_0_1, 9u);
  }
  workgroupBarrier();
  if (0u + tx < 8u) {
    if (row + 0u < end) { outD[(row + 0u) * p.stride + 2u * p.hidden4 + column + 0u + tx] = packHalves(scores[(own0 + 0u) * 9u + tx]); } if (row + 1u < end) { outD[(row + 1u) * p.stride + 2u * p.hidden4 + column + 0u + tx] = packHalves(scores[(own0 + 1u) * 9u + tx]); } if (row + 2u < end) { outD[(row + 2u) * p.stride + 2u * p.hidden4 + column + 0u + tx] = packHalves(scores[(own0 + 2u) * 9u + tx]); } if (row + 3u < end) { outD[(row + 3u) * p.stride + 2u * p.hidden4 + column + 0u + tx] = packHalves(scores[(own0 + 3u) * 9u + tx]); }
  }
  workgroupBarrier();
}
