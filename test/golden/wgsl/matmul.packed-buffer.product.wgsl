// lavapipe of Mesa 26 on processors that gather fast (Intel, AVX-512): panels in storage buffers, 48 rows a tile
// a CPU: a=f16 b=f32 c=f16 gelu=false transA=false transB=true
enable subgroups;
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
struct Params { M: u32, N: u32, steps: u32, units: u32, ldc: u32, startC: u32, hasBias: u32, accumulate: u32, plainA: u32, plainB: u32, stores: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> A: array<vec4f>;
@group(0) @binding(1) var<storage, read> B: array<vec4f>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> outC: array<Half4>;


fn store(row: u32, v: u32, value: vec4f) {
  if (row >= p.M || v >= p.N / 4u) { return; }
  var sum = value;
  if (p.hasBias != 0u) { sum += bias[v]; }
  let at = p.startC / 4u + row * (p.ldc / 4u) + v;
  if (p.accumulate != 0u) { sum += unpackHalves(outC[at]); }
  
  outC[at] = packHalves(sum);
}
@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let rowTiles = (p.M + 47u) / 48u;
  let columnTiles = (p.N + 23u) / 24u;
  let tile = group.y * groups.x + group.x;
  if (tile >= rowTiles * columnTiles) { return; }
  let band = tile / (rowTiles * 4u);
  let inBand = tile % (rowTiles * 4u);
  let wide = min(4u, columnTiles - band * 4u);
  let tileColumn = band * 4u + inBand % wide;
  let panelA = (inBand / wide) * 6u;
  let panelB = tileColumn * 3u;
  let s0 = (lane & 0xfffffff8u) + 0u; let s1 = (lane & 0xfffffff8u) + 1u; let s2 = (lane & 0xfffffff8u) + 2u; let s3 = (lane & 0xfffffff8u) + 3u; let s4 = (lane & 0xfffffff8u) + 4u; let s5 = (lane & 0xfffffff8u) + 5u; let s6 = (lane & 0xfffffff8u) + 6u; let s7 = (lane & 0xfffffff8u) + 7u;
  let xA0 = (panelA + 0u) * p.units * 8u + lane;
  let xA1 = (panelA + 1u) * p.units * 8u + lane;
  let xA2 = (panelA + 2u) * p.units * 8u + lane;
  let xA3 = (panelA + 3u) * p.units * 8u + lane;
  let xA4 = (panelA + 4u) * p.units * 8u + lane;
  let xA5 = (panelA + 5u) * p.units * 8u + lane;
  let xB0 = (panelB + 0u) * p.units * 8u + lane;
  let xB1 = (panelB + 1u) * p.units * 8u + lane;
  let xB2 = (panelB + 2u) * p.units * 8u + lane;
  var c0_0 = 0.0; var c0_1 = 0.0; var c0_2 = 0.0; var c0_3 = 0.0; var c0_4 = 0.0; var c0_5 = 0.0; var c0_6 = 0.0; var c0_7 = 0.0; var c0_8 = 0.0; var c0_9 = 0.0; var c0_10 = 0.0; var c0_11 = 0.0; var c0_12 = 0.0; var c0_13 = 0.0; var c0_14 = 0.0; var c0_15 = 0.0; var c0_16 = 0.0; var c0_17 = 0.0; var c0_18 = 0.0; var c0_19 = 0.0; var c0_20 = 0.0; var c0_21 = 0.0; var c0_22 = 0.0; var c0_23 = 0.0;
  var c1_0 = 0.0; var c1_1 = 0.0; var c1_2 = 0.0; var c1_3 = 0.0; var c1_4 = 0.0; var c1_5 = 0.0; var c1_6 = 0.0; var c1_7 = 0.0; var c1_8 = 0.0; var c1_9 = 0.0; var c1_10 = 0.0; var c1_11 = 0.0; var c1_12 = 0.0; var c1_13 = 0.0; var c1_14 = 0.0; var c1_15 = 0.0; var c1_16 = 0.0; var c1_17 = 0.0; var c1_18 = 0.0; var c1_19 = 0.0; var c1_20 = 0.0; var c1_21 = 0.0; var c1_22 = 0.0; var c1_23 = 0.0;
  var c2_0 = 0.0; var c2_1 = 0.0; var c2_2 = 0.0; var c2_3 = 0.0; var c2_4 = 0.0; var c2_5 = 0.0; var c2_6 = 0.0; var c2_7 = 0.0; var c2_8 = 0.0; var c2_9 = 0.0; var c2_10 = 0.0; var c2_11 = 0.0; var c2_12 = 0.0; var c2_13 = 0.0; var c2_14 = 0.0; var c2_15 = 0.0; var c2_16 = 0.0; var c2_17 = 0.0; var c2_18 = 0.0; var c2_19 = 0.0; var c2_20 = 0.0; var c2_21 = 0.0; var c2_22 = 0.0; var c2_23 = 0.0;
  var c3_0 = 0.0; var c3_1 = 0.0; var c3_2 = 0.0; var c3_3 = 0.0; var c3_4 = 0.0; var c3_5 = 0.0; var c3_6 = 0.0; var c3_7 = 0.0; var c3_8 = 0.0; var c3_9 = 0.0; var c3_10 = 0.0; var c3_11 = 0.0; var c3_12 = 0.0; var c3_13 = 0.0; var c3_14 = 0.0; var c3_15 = 0.0; var c3_16 = 0.0; var c3_17 = 0.0; var c3_18 = 0.0; var c3_19 = 0.0; var c3_20 = 0.0; var c3_21 = 0.0; var c3_22 = 0.0; var c3_23 = 0.0;
  var c4_0 = 0.0; var c4_1 = 0.0; var c4_2 = 0.0; var c4_3 = 0.0; var c4_4 = 0.0; var c4_5 = 0.0; var c4_6 = 0.0; var c4_7 = 0.0; var c4_8 = 0.0; var c4_9 = 0.0; var c4_10 = 0.0; var c4_11 = 0.0; var c4_12 = 0.0; var c4_13 = 0.0; var c4_14 = 0.0; var c4_15 = 0.0; var c4_16 = 0.0; var c4_17 = 0.0; var c4_18 = 0.0; var c4_19 = 0.0; var c4_20 = 0.0; var c4_21 = 0.0; var c4_22 = 0.0; var c4_23 = 0.0;
  var c5_0 = 0.0; var c5_1 = 0.0; var c5_2 = 0.0; var c5_3 = 0.0; var c5_4 = 0.0; var c5_5 = 0.0; var c5_6 = 0.0; var c5_7 = 0.0; var c5_8 = 0.0; var c5_9 = 0.0; var c5_10 = 0.0; var c5_11 = 0.0; var c5_12 = 0.0; var c5_13 = 0.0; var c5_14 = 0.0; var c5_15 = 0.0; var c5_16 = 0.0; var c5_17 = 0.0; var c5_18 = 0.0; var c5_19 = 0.0; var c5_20 = 0.0; var c5_21 = 0.0; var c5_22 = 0.0; var c5_23 = 0.0;
  for (var k = 0u; k < p.steps; k++) {
    let a0u0 = A[xA0 + (2u * k) * 8u]; let a0u1 = A[xA0 + (2u * k + 1u) * 8u];
    let a1u0 = A[xA1 + (2u * k) * 8u]; let a1u1 = A[xA1 + (2u * k + 1u) * 8u];
    let a2u0 = A[xA2 + (2u * k) * 8u]; let a2u1 = A[xA2 + (2u * k + 1u) * 8u];
    let a3u0 = A[xA3 + (2u * k) * 8u]; let a3u1 = A[xA3 + (2u * k + 1u) * 8u];
    let a4u0 = A[xA4 + (2u * k) * 8u]; let a4u1 = A[xA4 + (2u * k + 1u) * 8u];
    let a5u0 = A[xA5 + (2u * k) * 8u]; let a5u1 = A[xA5 + (2u * k + 1u) * 8u];
    let b0u0 = B[xB0 + (2u * k) * 8u]; let b0u1 = B[xB0 + (2u * k + 1u) * 8u];
    let b1u0 = B[xB1 + (2u * k) * 8u]; let b1u1 = B[xB1 + (2u * k + 1u) * 8u];
    let b2u0 = B[xB2 + (2u * k) * 8u]; let b2u1 = B[xB2 + (2u * k + 1u) * 8u];
    { let b = subgroupShuffle(b0u0.x, s0); c0_0 = fma(a0u0.x, b, c0_0); c1_0 = fma(a1u0.x, b, c1_0); c2_0 = fma(a2u0.x, b, c2_0); c3_0 = fma(a3u0.x, b, c3_0); c4_0 = fma(a4u0.x, b, c4_0); c5_0 = fma(a5u0.x, b, c5_0); }
    { let b = subgroupShuffle(b0u0.y, s0); c0_0 = fma(a0u0.y, b, c0_0); c1_0 = fma(a1u0.y, b, c1_0); c2_0 = fma(a2u0.y, b, c2_0); c3_0 = fma(a3u0.y, b, c3_0); c4_0 = fma(a4u0.y, b, c4_0); c5_0 = fma(a5u0.y, b, c5_0); }
    { let b = subgroupShuffle(b0u0.z, s0); c0_0 = fma(a0u0.z, b, c0_0); c1_0 = fma(a1u0.z, b, c1_0); c2_0 = fma(a2u0.z, b, c2_0); c3_0 = fma(a3u0.z, b, c3_0); c4_0 = fma(a4u0.z, b, c4_0); c5_0 = fma(a5u0.z, b, c5_0); }
    { let b = subgroupShuffle(b0u0.w, s0); c0_0 = fma(a0u0.w, b, c0_0); c1_0 = fma(a1u0.w, b, c1_0); c2_0 = fma(a2u0.w, b, c2_0); c3_0 = fma(a3u0.w, b, c3_0); c4_0 = fma(a4u0.w, b, c4_0); c5_0 = fma(a5u0.w, b, c5_0); }
    { let b = subgroupShuffle(b0u0.x, s1); c0_1 = fma(a0u0.x, b, c0_1); c1_1 = fma(a1u0.x, b, c1_1); c2_1 = fma(a2u0.x, b, c2_1); c3_1 = fma(a3u0.x, b, c3_1); c4_1 = fma(a4u0.x, b, c4_1); c5_1 = fma(a5u0.x, b, c5_1); }
    { let b = subgroupShuffle(b0u0.y, s1); c0_1 = fma(a0u0.y, b, c0_1); c1_1 = fma(a1u0.y, b, c1_1); c2_1 = fma(a2u0.y, b, c2_1); c3_1 = fma(a3u0.y, b, c3_1); c4_1 = fma(a4u0.y, b, c4_1); c5_1 = fma(a5u0.y, b, c5_1); }
    { let b = subgroupShuffle(b0u0.z, s1); c0_1 = fma(a0u0.z, b, c0_1); c1_1 = fma(a1u0.z, b, c1_1); c2_1 = fma(a2u0.z, b, c2_1); c3_1 = fma(a3u0.z, b, c3_1); c4_1 = fma(a4u0.z, b, c4_1); c5_1 = fma(a5u0.z, b, c5_1); }
    { let b = subgroupShuffle(b0u0.w, s1); c0_1 = fma(a0u0.w, b, c0_1); c1_1 = fma(a1u0.w, b, c1_1); c2_1 = fma(a2u0.w, b, c2_1); c3_1 = fma(a3u0.w, b, c3_1); c4_1 = fma(a4u0.w, b, c4_1); c5_1 = fma(a5u0.w, b, c5_1); }
    { let b = subgroupShuffle(b0u0.x, s2); c0_2 = fma(a0u0.x, b, c0_2); c1_2 = fma(a1u0.x, b, c1_2); c2_2 = fma(a2u0.x, b, c2_2); c3_2 = fma(a3u0.x, b, c3_2); c4_2 = fma(a4u0.x, b, c4_2); c5_2 = fma(a5u0.x, b, c5_2); }
    { let b = subgroupShuffle(b0u0.y, s2); c0_2 = fma(a0u0.y, b, c0_2); c1_2 = fma(a1u0.y, b, c1_2); c2_2 = fma(a2u0.y, b, c2_2); c3_2 = fma(a3u0.y, b, c3_2); c4_2 = fma(a4u0.y, b, c4_2); c5_2 = fma(a5u0.y, b, c5_2); }
    { let b = subgroupShuffle(b0u0.z, s2); c0_2 = fma(a0u0.z, b, c0_2); c1_2 = fma(a1u0.z, b, c1_2); c2_2 = fma(a2u0.z, b, c2_2); c3_2 = fma(a3u0.z, b, c3_2); c4_2 = fma(a4u0.z, b, c4_2); c5_2 = fma(a5u0.z, b, c5_2); }
    { let b = subgroupShuffle(b0u0.w, s2); c0_2 = fma(a0u0.w, b, c0_2); c1_2 = fma(a1u0.w, b, c1_2); c2_2 = fma(a2u0.w, b, c2_2); c3_2 = fma(a3u0.w, b, c3_2); c4_2 = fma(a4u0.w, b, c4_2); c5_2 = fma(a5u0.w, b, c5_2); }
    { let b = subgroupShuffle(b0u0.x, s3); c0_3 = fma(a0u0.x, b, c0_3); c1_3 = fma(a1u0.x, b, c1_3); c2_3 = fma(a2u0.x, b, c2_3); c3_3 = fma(a3u0.x, b, c3_3); c4_3 = fma(a4u0.x, b, c4_3); c5_3 = fma(a5u0.x, b, c5_3); }
    { let b = subgroupShuffle(b0u0.y, s3); c0_3 = fma(a0u0.y, b, c0_3); c1_3 = fma(a1u0.y, b, c1_3); c2_3 = fma(a2u0.y, b, c2_3); c3_3 = fma(a3u0.y, b, c3_3); c4_3 = fma(a4u0.y, b, c4_3); c5_3 = fma(a5u0.y, b, c5_3); }
    { let b = subgroupShuffle(b0u0.z, s3); c0_3 = fma(a0u0.z, b, c0_3); c1_3 = fma(a1u0.z, b, c1_3); c2_3 = fma(a2u0.z, b, c2_3); c3_3 = fma(a3u0.z, b, c3_3); c4_3 = fma(a4u0.z, b, c4_3); c5_3 = fma(a5u0.z, b, c5_3); }
    { let b = subgroupShuffle(b0u0.w, s3); c0_3 = fma(a0u0.w, b, c0_3); c1_3 = fma(a1u0.w, b, c1_3); c2_3 = fma(a2u0.w, b, c2_3); c3_3 = fma(a3u0.w, b, c3_3); c4_3 = fma(a4u0.w, b, c4_3); c5_3 = fma(a5u0.w, b, c5_3); }
    { let b = subgroupShuffle(b0u0.x, s4); c0_4 = fma(a0u0.x, b, c0_4); c1_4 = fma(a1u0.x, b, c1_4); c2_4 = fma(a2u0.x, b, c2_4); c3_4 = fma(a3u0.x, b, c3_4); c4_4 = fma(a4u0.x, b, c4_4); c5_4 = fma(a5u0.x, b, c5_4); }
    { let b = subgroupShuffle(b0u0.y, s4); c0_4 = fma(a0u0.y, b, c0_4); c1_4 = fma(a1u0.y, b, c1_4); c2_4 = fma(a2u0.y, b, c2_4); c3_4 = fma(a3u0.y, b, c3_4); c4_4 = fma(a4u0.y, b, c4_4); c5_4 = fma(a5u0.y, b, c5_4); }
    { let b = subgroupShuffle(b0u0.z, s4); c0_4 = fma(a0u0.z, b, c0_4); c1_4 = fma(a1u0.z, b, c1_4); c2_4 = fma(a2u0.z, b, c2_4); c3_4 = fma(a3u0.z, b, c3_4); c4_4 = fma(a4u0.z, b, c4_4); c5_4 = fma(a5u0.z, b, c5_4); }
    { let b = subgroupShuffle(b0u0.w, s4); c0_4 = fma(a0u0.w, b, c0_4); c1_4 = fma(a1u0.w, b, c1_4); c2_4 = fma(a2u0.w, b, c2_4); c3_4 = fma(a3u0.w, b, c3_4); c4_4 = fma(a4u0.w, b, c4_4); c5_4 = fma(a5u0.w, b, c5_4); }
    { let b = subgroupShuffle(b0u0.x, s5); c0_5 = fma(a0u0.x, b, c0_5); c1_5 = fma(a1u0.x, b, c1_5); c2_5 = fma(a2u0.x, b, c2_5); c3_5 = fma(a3u0.x, b, c3_5); c4_5 = fma(a4u0.x, b, c4_5); c5_5 = fma(a5u0.x, b, c5_5); }
    { let b = subgroupShuffle(b0u0.y, s5); c0_5 = fma(a0u0.y, b, c0_5); c1_5 = fma(a1u0.y, b, c1_5); c2_5 = fma(a2u0.y, b, c2_5); c3_5 = fma(a3u0.y, b, c3_5); c4_5 = fma(a4u0.y, b, c4_5); c5_5 = fma(a5u0.y, b, c5_5); }
    { let b = subgroupShuffle(b0u0.z, s5); c0_5 = fma(a0u0.z, b, c0_5); c1_5 = fma(a1u0.z, b, c1_5); c2_5 = fma(a2u0.z, b, c2_5); c3_5 = fma(a3u0.z, b, c3_5); c4_5 = fma(a4u0.z, b, c4_5); c5_5 = fma(a5u0.z, b, c5_5); }
    { let b = subgroupShuffle(b0u0.w, s5); c0_5 = fma(a0u0.w, b, c0_5); c1_5 = fma(a1u0.w, b, c1_5); c2_5 = fma(a2u0.w, b, c2_5); c3_5 = fma(a3u0.w, b, c3_5); c4_5 = fma(a4u0.w, b, c4_5); c5_5 = fma(a5u0.w, b, c5_5); }
    { let b = subgroupShuffle(b0u0.x, s6); c0_6 = fma(a0u0.x, b, c0_6); c1_6 = fma(a1u0.x, b, c1_6); c2_6 = fma(a2u0.x, b, c2_6); c3_6 = fma(a3u0.x, b, c3_6); c4_6 = fma(a4u0.x, b, c4_6); c5_6 = fma(a5u0.x, b, c5_6); }
    { let b = subgroupShuffle(b0u0.y, s6); c0_6 = fma(a0u0.y, b, c0_6); c1_6 = fma(a1u0.y, b, c1_6); c2_6 = fma(a2u0.y, b, c2_6); c3_6 = fma(a3u0.y, b, c3_6); c4_6 = fma(a4u0.y, b, c4_6); c5_6 = fma(a5u0.y, b, c5_6); }
    { let b = subgroupShuffle(b0u0.z, s6); c0_6 = fma(a0u0.z, b, c0_6); c1_6 = fma(a1u0.z, b, c1_6); c2_6 = fma(a2u0.z, b, c2_6); c3_6 = fma(a3u0.z, b, c3_6); c4_6 = fma(a4u0.z, b, c4_6); c5_6 = fma(a5u0.z, b, c5_6); }
    { let b = subgroupShuffle(b0u0.w, s6); c0_6 = fma(a0u0.w, b, c0_6); c1_6 = fma(a1u0.w, b, c1_6); c2_6 = fma(a2u0.w, b, c2_6); c3_6 = fma(a3u0.w, b, c3_6); c4_6 = fma(a4u0.w, b, c4_6); c5_6 = fma(a5u0.w, b, c5_6); }
    { let b = subgroupShuffle(b0u0.x, s7); c0_7 = fma(a0u0.x, b, c0_7); c1_7 = fma(a1u0.x, b, c1_7); c2_7 = fma(a2u0.x, b, c2_7); c3_7 = fma(a3u0.x, b, c3_7); c4_7 = fma(a4u0.x, b, c4_7); c5_7 = fma(a5u0.x, b, c5_7); }
    { let b = subgroupShuffle(b0u0.y, s7); c0_7 = fma(a0u0.y, b, c0_7); c1_7 = fma(a1u0.y, b, c1_7); c2_7 = fma(a2u0.y, b, c2_7); c3_7 = fma(a3u0.y, b, c3_7); c4_7 = fma(a4u0.y, b, c4_7); c5_7 = fma(a5u0.y, b, c5_7); }
    { let b = subgroupShuffle(b0u0.z, s7); c0_7 = fma(a0u0.z, b, c0_7); c1_7 = fma(a1u0.z, b, c1_7); c2_7 = fma(a2u0.z, b, c2_7); c3_7 = fma(a3u0.z, b, c3_7); c4_7 = fma(a4u0.z, b, c4_7); c5_7 = fma(a5u0.z, b, c5_7); }
    { let b = subgroupShuffle(b0u0.w, s7); c0_7 = fma(a0u0.w, b, c0_7); c1_7 = fma(a1u0.w, b, c1_7); c2_7 = fma(a2u0.w, b, c2_7); c3_7 = fma(a3u0.w, b, c3_7); c4_7 = fma(a4u0.w, b, c4_7); c5_7 = fma(a5u0.w, b, c5_7); }
    { let b = subgroupShuffle(b1u0.x, s0); c0_8 = fma(a0u0.x, b, c0_8); c1_8 = fma(a1u0.x, b, c1_8); c2_8 = fma(a2u0.x, b, c2_8); c3_8 = fma(a3u0.x, b, c3_8); c4_8 = fma(a4u0.x, b, c4_8); c5_8 = fma(a5u0.x, b, c5_8); }
    { let b = subgroupShuffle(b1u0.y, s0); c0_8 = fma(a0u0.y, b, c0_8); c1_8 = fma(a1u0.y, b, c1_8); c2_8 = fma(a2u0.y, b, c2_8); c3_8 = fma(a3u0.y, b, c3_8); c4_8 = fma(a4u0.y, b, c4_8); c5_8 = fma(a5u0.y, b, c5_8); }
    { let b = subgroupShuffle(b1u0.z, s0); c0_8 = fma(a0u0.z, b, c0_8); c1_8 = fma(a1u0.z, b, c1_8); c2_8 = fma(a2u0.z, b, c2_8); c3_8 = fma(a3u0.z, b, c3_8); c4_8 = fma(a4u0.z, b, c4_8); c5_8 = fma(a5u0.z, b, c5_8); }
    { let b = subgroupShuffle(b1u0.w, s0); c0_8 = fma(a0u0.w, b, c0_8); c1_8 = fma(a1u0.w, b, c1_8); c2_8 = fma(a2u0.w, b, c2_8); c3_8 = fma(a3u0.w, b, c3_8); c4_8 = fma(a4u0.w, b, c4_8); c5_8 = fma(a5u0.w, b, c5_8); }
    { let b = subgroupShuffle(b1u0.x, s1); c0_9 = fma(a0u0.x, b, c0_9); c1_9 = fma(a1u0.x, b, c1_9); c2_9 = fma(a2u0.x, b, c2_9); c3_9 = fma(a3u0.x, b, c3_9); c4_9 = fma(a4u0.x, b, c4_9); c5_9 = fma(a5u0.x, b, c5_9); }
    { let b = subgroupShuffle(b1u0.y, s1); c0_9 = fma(a0u0.y, b, c0_9); c1_9 = fma(a1u0.y, b, c1_9); c2_9 = fma(a2u0.y, b, c2_9); c3_9 = fma(a3u0.y, b, c3_9); c4_9 = fma(a4u0.y, b, c4_9); c5_9 = fma(a5u0.y, b, c5_9); }
    { let b = subgroupShuffle(b1u0.z, s1); c0_9 = fma(a0u0.z, b, c0_9); c1_9 = fma(a1u0.z, b, c1_9); c2_9 = fma(a2u0.z, b, c2_9); c3_9 = fma(a3u0.z, b, c3_9); c4_9 = fma(a4u0.z, b, c4_9); c5_9 = fma(a5u0.z, b, c5_9); }
    { let b = subgroupShuffle(b1u0.w, s1); c0_9 = fma(a0u0.w, b, c0_9); c1_9 = fma(a1u0.w, b, c1_9); c2_9 = fma(a2u0.w, b, c2_9); c3_9 = fma(a3u0.w, b, c3_9); c4_9 = fma(a4u0.w, b, c4_9); c5_9 = fma(a5u0.w, b, c5_9); }
    { let b = subgroupShuffle(b1u0.x, s2); c0_10 = fma(a0u0.x, b, c0_10); c1_10 = fma(a1u0.x, b, c1_10); c2_10 = fma(a2u0.x, b, c2_10); c3_10 = fma(a3u0.x, b, c3_10); c4_10 = fma(a4u0.x, b, c4_10); c5_10 = fma(a5u0.x, b, c5_10); }
    { let b = subgroupShuffle(b1u0.y, s2); c0_10 = fma(a0u0.y, b, c0_10); c1_10 = fma(a1u0.y, b, c1_10); c2_10 = fma(a2u0.y, b, c2_10); c3_10 = fma(a3u0.y, b, c3_10); c4_10 = fma(a4u0.y, b, c4_10); c5_10 = fma(a5u0.y, b, c5_10); }
    { let b = subgroupShuffle(b1u0.z, s2); c0_10 = fma(a0u0.z, b, c0_10); c1_10 = fma(a1u0.z, b, c1_10); c2_10 = fma(a2u0.z, b, c2_10); c3_10 = fma(a3u0.z, b, c3_10); c4_10 = fma(a4u0.z, b, c4_10); c5_10 = fma(a5u0.z, b, c5_10); }
    { let b = subgroupShuffle(b1u0.w, s2); c0_10 = fma(a0u0.w, b, c0_10); c1_10 = fma(a1u0.w, b, c1_10); c2_10 = fma(a2u0.w, b, c2_10); c3_10 = fma(a3u0.w, b, c3_10); c4_10 = fma(a4u0.w, b, c4_10); c5_10 = fma(a5u0.w, b, c5_10); }
    { let b = subgroupShuffle(b1u0.x, s3); c0_11 = fma(a0u0.x, b, c0_11); c1_11 = fma(a1u0.x, b, c1_11); c2_11 = fma(a2u0.x, b, c2_11); c3_11 = fma(a3u0.x, b, c3_11); c4_11 = fma(a4u0.x, b, c4_11); c5_11 = fma(a5u0.x, b, c5_11); }
    { let b = subgroupShuffle(b1u0.y, s3); c0_11 = fma(a0u0.y, b, c0_11); c1_11 = fma(a1u0.y, b, c1_11); c2_11 = fma(a2u0.y, b, c2_11); c3_11 = fma(a3u0.y, b, c3_11); c4_11 = fma(a4u0.y, b, c4_11); c5_11 = fma(a5u0.y, b, c5_11); }
    { let b = subgroupShuffle(b1u0.z, s3); c0_11 = fma(a0u0.z, b, c0_11); c1_11 = fma(a1u0.z, b, c1_11); c2_11 = fma(a2u0.z, b, c2_11); c3_11 = fma(a3u0.z, b, c3_11); c4_11 = fma(a4u0.z, b, c4_11); c5_11 = fma(a5u0.z, b, c5_11); }
    { let b = subgroupShuffle(b1u0.w, s3); c0_11 = fma(a0u0.w, b, c0_11); c1_11 = fma(a1u0.w, b, c1_11); c2_11 = fma(a2u0.w, b, c2_11); c3_11 = fma(a3u0.w, b, c3_11); c4_11 = fma(a4u0.w, b, c4_11); c5_11 = fma(a5u0.w, b, c5_11); }
    { let b = subgroupShuffle(b1u0.x, s4); c0_12 = fma(a0u0.x, b, c0_12); c1_12 = fma(a1u0.x, b, c1_12); c2_12 = fma(a2u0.x, b, c2_12); c3_12 = fma(a3u0.x, b, c3_12); c4_12 = fma(a4u0.x, b, c4_12); c5_12 = fma(a5u0.x, b, c5_12); }
    { let b = subgroupShuffle(b1u0.y, s4); c0_12 = fma(a0u0.y, b, c0_12); c1_12 = fma(a1u0.y, b, c1_12); c2_12 = fma(a2u0.y, b, c2_12); c3_12 = fma(a3u0.y, b, c3_12); c4_12 = fma(a4u0.y, b, c4_12); c5_12 = fma(a5u0.y, b, c5_12); }
    { let b = subgroupShuffle(b1u0.z, s4); c0_12 = fma(a0u0.z, b, c0_12); c1_12 = fma(a1u0.z, b, c1_12); c2_12 = fma(a2u0.z, b, c2_12); c3_12 = fma(a3u0.z, b, c3_12); c4_12 = fma(a4u0.z, b, c4_12); c5_12 = fma(a5u0.z, b, c5_12); }
    { let b = subgroupShuffle(b1u0.w, s4); c0_12 = fma(a0u0.w, b, c0_12); c1_12 = fma(a1u0.w, b, c1_12); c2_12 = fma(a2u0.w, b, c2_12); c3_12 = fma(a3u0.w, b, c3_12); c4_12 = fma(a4u0.w, b, c4_12); c5_12 = fma(a5u0.w, b, c5_12); }
    { let b = subgroupShuffle(b1u0.x, s5); c0_13 = fma(a0u0.x, b, c0_13); c1_13 = fma(a1u0.x, b, c1_13); c2_13 = fma(a2u0.x, b, c2_13); c3_13 = fma(a3u0.x, b, c3_13); c4_13 = fma(a4u0.x, b, c4_13); c5_13 = fma(a5u0.x, b, c5_13); }
    { let b = subgroupShuffle(b1u0.y, s5); c0_13 = fma(a0u0.y, b, c0_13); c1_13 = fma(a1u0.y, b, c1_13); c2_13 = fma(a2u0.y, b, c2_13); c3_13 = fma(a3u0.y, b, c3_13); c4_13 = fma(a4u0.y, b, c4_13); c5_13 = fma(a5u0.y, b, c5_13); }
    { let b = subgroupShuffle(b1u0.z, s5); c0_13 = fma(a0u0.z, b, c0_13); c1_13 = fma(a1u0.z, b, c1_13); c2_13 = fma(a2u0.z, b, c2_13); c3_13 = fma(a3u0.z, b, c3_13); c4_13 = fma(a4u0.z, b, c4_13); c5_13 = fma(a5u0.z, b, c5_13); }
    { let b = subgroupShuffle(b1u0.w, s5); c0_13 = fma(a0u0.w, b, c0_13); c1_13 = fma(a1u0.w, b, c1_13); c2_13 = fma(a2u0.w, b, c2_13); c3_13 = fma(a3u0.w, b, c3_13); c4_13 = fma(a4u0.w, b, c4_13); c5_13 = fma(a5u0.w, b, c5_13); }
    { let b = subgroupShuffle(b1u0.x, s6); c0_14 = fma(a0u0.x, b, c0_14); c1_14 = fma(a1u0.x, b, c1_14); c2_14 = fma(a2u0.x, b, c2_14); c3_14 = fma(a3u0.x, b, c3_14); c4_14 = fma(a4u0.x, b, c4_14); c5_14 = fma(a5u0.x, b, c5_14); }
    { let b = subgroupShuffle(b1u0.y, s6); c0_14 = fma(a0u0.y, b, c0_14); c1_14 = fma(a1u0.y, b, c1_14); c2_14 = fma(a2u0.y, b, c2_14); c3_14 = fma(a3u0.y, b, c3_14); c4_14 = fma(a4u0.y, b, c4_14); c5_14 = fma(a5u0.y, b, c5_14); }
    { let b = subgroupShuffle(b1u0.z, s6); c0_14 = fma(a0u0.z, b, c0_14); c1_14 = fma(a1u0.z, b, c1_14); c2_14 = fma(a2u0.z, b, c2_14); c3_14 = fma(a3u0.z, b, c3_14); c4_14 = fma(a4u0.z, b, c4_14); c5_14 = fma(a5u0.z, b, c5_14); }
    { let b = subgroupShuffle(b1u0.w, s6); c0_14 = fma(a0u0.w, b, c0_14); c1_14 = fma(a1u0.w, b, c1_14); c2_14 = fma(a2u0.w, b, c2_14); c3_14 = fma(a3u0.w, b, c3_14); c4_14 = fma(a4u0.w, b, c4_14); c5_14 = fma(a5u0.w, b, c5_14); }
    { let b = subgroupShuffle(b1u0.x, s7); c0_15 = fma(a0u0.x, b, c0_15); c1_15 = fma(a1u0.x, b, c1_15); c2_15 = fma(a2u0.x, b, c2_15); c3_15 = fma(a3u0.x, b, c3_15); c4_15 = fma(a4u0.x, b, c4_15); c5_15 = fma(a5u0.x, b, c5_15); }
    { let b = subgroupShuffle(b1u0.y, s7); c0_15 = fma(a0u0.y, b, c0_15); c1_15 = fma(a1u0.y, b, c1_15); c2_15 = fma(a2u0.y, b, c2_15); c3_15 = fma(a3u0.y, b, c3_15); c4_15 = fma(a4u0.y, b, c4_15); c5_15 = fma(a5u0.y, b, c5_15); }
    { let b = subgroupShuffle(b1u0.z, s7); c0_15 = fma(a0u0.z, b, c0_15); c1_15 = fma(a1u0.z, b, c1_15); c2_15 = fma(a2u0.z, b, c2_15); c3_15 = fma(a3u0.z, b, c3_15); c4_15 = fma(a4u0.z, b, c4_15); c5_15 = fma(a5u0.z, b, c5_15); }
    { let b = subgroupShuffle(b1u0.w, s7); c0_15 = fma(a0u0.w, b, c0_15); c1_15 = fma(a1u0.w, b, c1_15); c2_15 = fma(a2u0.w, b, c2_15); c3_15 = fma(a3u0.w, b, c3_15); c4_15 = fma(a4u0.w, b, c4_15); c5_15 = fma(a5u0.w, b, c5_15); }
    { let b = subgroupShuffle(b2u0.x, s0); c0_16 = fma(a0u0.x, b, c0_16); c1_16 = fma(a1u0.x, b, c1_16); c2_16 = fma(a2u0.x, b, c2_16); c3_16 = fma(a3u0.x, b, c3_16); c4_16 = fma(a4u0.x, b, c4_16); c5_16 = fma(a5u0.x, b, c5_16); }
    { let b = subgroupShuffle(b2u0.y, s0); c0_16 = fma(a0u0.y, b, c0_16); c1_16 = fma(a1u0.y, b, c1_16); c2_16 = fma(a2u0.y, b, c2_16); c3_16 = fma(a3u0.y, b, c3_16); c4_16 = fma(a4u0.y, b, c4_16); c5_16 = fma(a5u0.y, b, c5_16); }
    { let b = subgroupShuffle(b2u0.z, s0); c0_16 = fma(a0u0.z, b, c0_16); c1_16 = fma(a1u0.z, b, c1_16); c2_16 = fma(a2u0.z, b, c2_16); c3_16 = fma(a3u0.z, b, c3_16); c4_16 = fma(a4u0.z, b, c4_16); c5_16 = fma(a5u0.z, b, c5_16); }
    { let b = subgroupShuffle(b2u0.w, s0); c0_16 = fma(a0u0.w, b, c0_16); c1_16 = fma(a1u0.w, b, c1_16); c2_16 = fma(a2u0.w, b, c2_16); c3_16 = fma(a3u0.w, b, c3_16); c4_16 = fma(a4u0.w, b, c4_16); c5_16 = fma(a5u0.w, b, c5_16); }
    { let b = subgroupShuffle(b2u0.x, s1); c0_17 = fma(a0u0.x, b, c0_17); c1_17 = fma(a1u0.x, b, c1_17); c2_17 = fma(a2u0.x, b, c2_17); c3_17 = fma(a3u0.x, b, c3_17); c4_17 = fma(a4u0.x, b, c4_17); c5_17 = fma(a5u0.x, b, c5_17); }
    { let b = subgroupShuffle(b2u0.y, s1); c0_17 = fma(a0u0.y, b, c0_17); c1_17 = fma(a1u0.y, b, c1_17); c2_17 = fma(a2u0.y, b, c2_17); c3_17 = fma(a3u0.y, b, c3_17); c4_17 = fma(a4u0.y, b, c4_17); c5_17 = fma(a5u0.y, b, c5_17); }
    { let b = subgroupShuffle(b2u0.z, s1); c0_17 = fma(a0u0.z, b, c0_17); c1_17 = fma(a1u0.z, b, c1_17); c2_17 = fma(a2u0.z, b, c2_17); c3_17 = fma(a3u0.z, b, c3_17); c4_17 = fma(a4u0.z, b, c4_17); c5_17 = fma(a5u0.z, b, c5_17); }
    { let b = subgroupShuffle(b2u0.w, s1); c0_17 = fma(a0u0.w, b, c0_17); c1_17 = fma(a1u0.w, b, c1_17); c2_17 = fma(a2u0.w, b, c2_17); c3_17 = fma(a3u0.w, b, c3_17); c4_17 = fma(a4u0.w, b, c4_17); c5_17 = fma(a5u0.w, b, c5_17); }
    { let b = subgroupShuffle(b2u0.x, s2); c0_18 = fma(a0u0.x, b, c0_18); c1_18 = fma(a1u0.x, b, c1_18); c2_18 = fma(a2u0.x, b, c2_18); c3_18 = fma(a3u0.x, b, c3_18); c4_18 = fma(a4u0.x, b, c4_18); c5_18 = fma(a5u0.x, b, c5_18); }
    { let b = subgroupShuffle(b2u0.y, s2); c0_18 = fma(a0u0.y, b, c0_18); c1_18 = fma(a1u0.y, b, c1_18); c2_18 = fma(a2u0.y, b, c2_18); c3_18 = fma(a3u0.y, b, c3_18); c4_18 = fma(a4u0.y, b, c4_18); c5_18 = fma(a5u0.y, b, c5_18); }
    { let b = subgroupShuffle(b2u0.z, s2); c0_18 = fma(a0u0.z, b, c0_18); c1_18 = fma(a1u0.z, b, c1_18); c2_18 = fma(a2u0.z, b, c2_18); c3_18 = fma(a3u0.z, b, c3_18); c4_18 = fma(a4u0.z, b, c4_18); c5_18 = fma(a5u0.z, b, c5_18); }
// … 90 lines are left out here, with the SHA-256 bec0bc9d63bfd046 …
    { let b = subgroupShuffle(b2u1.y, s1); c0_17 = fma(a0u1.y, b, c0_17); c1_17 = fma(a1u1.y, b, c1_17); c2_17 = fma(a2u1.y, b, c2_17); c3_17 = fma(a3u1.y, b, c3_17); c4_17 = fma(a4u1.y, b, c4_17); c5_17 = fma(a5u1.y, b, c5_17); }
    { let b = subgroupShuffle(b2u1.z, s1); c0_17 = fma(a0u1.z, b, c0_17); c1_17 = fma(a1u1.z, b, c1_17); c2_17 = fma(a2u1.z, b, c2_17); c3_17 = fma(a3u1.z, b, c3_17); c4_17 = fma(a4u1.z, b, c4_17); c5_17 = fma(a5u1.z, b, c5_17); }
    { let b = subgroupShuffle(b2u1.w, s1); c0_17 = fma(a0u1.w, b, c0_17); c1_17 = fma(a1u1.w, b, c1_17); c2_17 = fma(a2u1.w, b, c2_17); c3_17 = fma(a3u1.w, b, c3_17); c4_17 = fma(a4u1.w, b, c4_17); c5_17 = fma(a5u1.w, b, c5_17); }
    { let b = subgroupShuffle(b2u1.x, s2); c0_18 = fma(a0u1.x, b, c0_18); c1_18 = fma(a1u1.x, b, c1_18); c2_18 = fma(a2u1.x, b, c2_18); c3_18 = fma(a3u1.x, b, c3_18); c4_18 = fma(a4u1.x, b, c4_18); c5_18 = fma(a5u1.x, b, c5_18); }
    { let b = subgroupShuffle(b2u1.y, s2); c0_18 = fma(a0u1.y, b, c0_18); c1_18 = fma(a1u1.y, b, c1_18); c2_18 = fma(a2u1.y, b, c2_18); c3_18 = fma(a3u1.y, b, c3_18); c4_18 = fma(a4u1.y, b, c4_18); c5_18 = fma(a5u1.y, b, c5_18); }
    { let b = subgroupShuffle(b2u1.z, s2); c0_18 = fma(a0u1.z, b, c0_18); c1_18 = fma(a1u1.z, b, c1_18); c2_18 = fma(a2u1.z, b, c2_18); c3_18 = fma(a3u1.z, b, c3_18); c4_18 = fma(a4u1.z, b, c4_18); c5_18 = fma(a5u1.z, b, c5_18); }
    { let b = subgroupShuffle(b2u1.w, s2); c0_18 = fma(a0u1.w, b, c0_18); c1_18 = fma(a1u1.w, b, c1_18); c2_18 = fma(a2u1.w, b, c2_18); c3_18 = fma(a3u1.w, b, c3_18); c4_18 = fma(a4u1.w, b, c4_18); c5_18 = fma(a5u1.w, b, c5_18); }
    { let b = subgroupShuffle(b2u1.x, s3); c0_19 = fma(a0u1.x, b, c0_19); c1_19 = fma(a1u1.x, b, c1_19); c2_19 = fma(a2u1.x, b, c2_19); c3_19 = fma(a3u1.x, b, c3_19); c4_19 = fma(a4u1.x, b, c4_19); c5_19 = fma(a5u1.x, b, c5_19); }
    { let b = subgroupShuffle(b2u1.y, s3); c0_19 = fma(a0u1.y, b, c0_19); c1_19 = fma(a1u1.y, b, c1_19); c2_19 = fma(a2u1.y, b, c2_19); c3_19 = fma(a3u1.y, b, c3_19); c4_19 = fma(a4u1.y, b, c4_19); c5_19 = fma(a5u1.y, b, c5_19); }
    { let b = subgroupShuffle(b2u1.z, s3); c0_19 = fma(a0u1.z, b, c0_19); c1_19 = fma(a1u1.z, b, c1_19); c2_19 = fma(a2u1.z, b, c2_19); c3_19 = fma(a3u1.z, b, c3_19); c4_19 = fma(a4u1.z, b, c4_19); c5_19 = fma(a5u1.z, b, c5_19); }
    { let b = subgroupShuffle(b2u1.w, s3); c0_19 = fma(a0u1.w, b, c0_19); c1_19 = fma(a1u1.w, b, c1_19); c2_19 = fma(a2u1.w, b, c2_19); c3_19 = fma(a3u1.w, b, c3_19); c4_19 = fma(a4u1.w, b, c4_19); c5_19 = fma(a5u1.w, b, c5_19); }
    { let b = subgroupShuffle(b2u1.x, s4); c0_20 = fma(a0u1.x, b, c0_20); c1_20 = fma(a1u1.x, b, c1_20); c2_20 = fma(a2u1.x, b, c2_20); c3_20 = fma(a3u1.x, b, c3_20); c4_20 = fma(a4u1.x, b, c4_20); c5_20 = fma(a5u1.x, b, c5_20); }
    { let b = subgroupShuffle(b2u1.y, s4); c0_20 = fma(a0u1.y, b, c0_20); c1_20 = fma(a1u1.y, b, c1_20); c2_20 = fma(a2u1.y, b, c2_20); c3_20 = fma(a3u1.y, b, c3_20); c4_20 = fma(a4u1.y, b, c4_20); c5_20 = fma(a5u1.y, b, c5_20); }
    { let b = subgroupShuffle(b2u1.z, s4); c0_20 = fma(a0u1.z, b, c0_20); c1_20 = fma(a1u1.z, b, c1_20); c2_20 = fma(a2u1.z, b, c2_20); c3_20 = fma(a3u1.z, b, c3_20); c4_20 = fma(a4u1.z, b, c4_20); c5_20 = fma(a5u1.z, b, c5_20); }
    { let b = subgroupShuffle(b2u1.w, s4); c0_20 = fma(a0u1.w, b, c0_20); c1_20 = fma(a1u1.w, b, c1_20); c2_20 = fma(a2u1.w, b, c2_20); c3_20 = fma(a3u1.w, b, c3_20); c4_20 = fma(a4u1.w, b, c4_20); c5_20 = fma(a5u1.w, b, c5_20); }
    { let b = subgroupShuffle(b2u1.x, s5); c0_21 = fma(a0u1.x, b, c0_21); c1_21 = fma(a1u1.x, b, c1_21); c2_21 = fma(a2u1.x, b, c2_21); c3_21 = fma(a3u1.x, b, c3_21); c4_21 = fma(a4u1.x, b, c4_21); c5_21 = fma(a5u1.x, b, c5_21); }
    { let b = subgroupShuffle(b2u1.y, s5); c0_21 = fma(a0u1.y, b, c0_21); c1_21 = fma(a1u1.y, b, c1_21); c2_21 = fma(a2u1.y, b, c2_21); c3_21 = fma(a3u1.y, b, c3_21); c4_21 = fma(a4u1.y, b, c4_21); c5_21 = fma(a5u1.y, b, c5_21); }
    { let b = subgroupShuffle(b2u1.z, s5); c0_21 = fma(a0u1.z, b, c0_21); c1_21 = fma(a1u1.z, b, c1_21); c2_21 = fma(a2u1.z, b, c2_21); c3_21 = fma(a3u1.z, b, c3_21); c4_21 = fma(a4u1.z, b, c4_21); c5_21 = fma(a5u1.z, b, c5_21); }
    { let b = subgroupShuffle(b2u1.w, s5); c0_21 = fma(a0u1.w, b, c0_21); c1_21 = fma(a1u1.w, b, c1_21); c2_21 = fma(a2u1.w, b, c2_21); c3_21 = fma(a3u1.w, b, c3_21); c4_21 = fma(a4u1.w, b, c4_21); c5_21 = fma(a5u1.w, b, c5_21); }
    { let b = subgroupShuffle(b2u1.x, s6); c0_22 = fma(a0u1.x, b, c0_22); c1_22 = fma(a1u1.x, b, c1_22); c2_22 = fma(a2u1.x, b, c2_22); c3_22 = fma(a3u1.x, b, c3_22); c4_22 = fma(a4u1.x, b, c4_22); c5_22 = fma(a5u1.x, b, c5_22); }
    { let b = subgroupShuffle(b2u1.y, s6); c0_22 = fma(a0u1.y, b, c0_22); c1_22 = fma(a1u1.y, b, c1_22); c2_22 = fma(a2u1.y, b, c2_22); c3_22 = fma(a3u1.y, b, c3_22); c4_22 = fma(a4u1.y, b, c4_22); c5_22 = fma(a5u1.y, b, c5_22); }
    { let b = subgroupShuffle(b2u1.z, s6); c0_22 = fma(a0u1.z, b, c0_22); c1_22 = fma(a1u1.z, b, c1_22); c2_22 = fma(a2u1.z, b, c2_22); c3_22 = fma(a3u1.z, b, c3_22); c4_22 = fma(a4u1.z, b, c4_22); c5_22 = fma(a5u1.z, b, c5_22); }
    { let b = subgroupShuffle(b2u1.w, s6); c0_22 = fma(a0u1.w, b, c0_22); c1_22 = fma(a1u1.w, b, c1_22); c2_22 = fma(a2u1.w, b, c2_22); c3_22 = fma(a3u1.w, b, c3_22); c4_22 = fma(a4u1.w, b, c4_22); c5_22 = fma(a5u1.w, b, c5_22); }
    { let b = subgroupShuffle(b2u1.x, s7); c0_23 = fma(a0u1.x, b, c0_23); c1_23 = fma(a1u1.x, b, c1_23); c2_23 = fma(a2u1.x, b, c2_23); c3_23 = fma(a3u1.x, b, c3_23); c4_23 = fma(a4u1.x, b, c4_23); c5_23 = fma(a5u1.x, b, c5_23); }
    { let b = subgroupShuffle(b2u1.y, s7); c0_23 = fma(a0u1.y, b, c0_23); c1_23 = fma(a1u1.y, b, c1_23); c2_23 = fma(a2u1.y, b, c2_23); c3_23 = fma(a3u1.y, b, c3_23); c4_23 = fma(a4u1.y, b, c4_23); c5_23 = fma(a5u1.y, b, c5_23); }
    { let b = subgroupShuffle(b2u1.z, s7); c0_23 = fma(a0u1.z, b, c0_23); c1_23 = fma(a1u1.z, b, c1_23); c2_23 = fma(a2u1.z, b, c2_23); c3_23 = fma(a3u1.z, b, c3_23); c4_23 = fma(a4u1.z, b, c4_23); c5_23 = fma(a5u1.z, b, c5_23); }
    { let b = subgroupShuffle(b2u1.w, s7); c0_23 = fma(a0u1.w, b, c0_23); c1_23 = fma(a1u1.w, b, c1_23); c2_23 = fma(a2u1.w, b, c2_23); c3_23 = fma(a3u1.w, b, c3_23); c4_23 = fma(a4u1.w, b, c4_23); c5_23 = fma(a5u1.w, b, c5_23); }
  }
  // One copy of the epilogue's code: unrolled it would take longer to compile than all the rest.
  var sums: array<vec4f, 36>;
  sums[0] = vec4f(c0_0, c0_1, c0_2, c0_3); sums[1] = vec4f(c0_4, c0_5, c0_6, c0_7); sums[2] = vec4f(c0_8, c0_9, c0_10, c0_11); sums[3] = vec4f(c0_12, c0_13, c0_14, c0_15); sums[4] = vec4f(c0_16, c0_17, c0_18, c0_19); sums[5] = vec4f(c0_20, c0_21, c0_22, c0_23);
  sums[6] = vec4f(c1_0, c1_1, c1_2, c1_3); sums[7] = vec4f(c1_4, c1_5, c1_6, c1_7); sums[8] = vec4f(c1_8, c1_9, c1_10, c1_11); sums[9] = vec4f(c1_12, c1_13, c1_14, c1_15); sums[10] = vec4f(c1_16, c1_17, c1_18, c1_19); sums[11] = vec4f(c1_20, c1_21, c1_22, c1_23);
  sums[12] = vec4f(c2_0, c2_1, c2_2, c2_3); sums[13] = vec4f(c2_4, c2_5, c2_6, c2_7); sums[14] = vec4f(c2_8, c2_9, c2_10, c2_11); sums[15] = vec4f(c2_12, c2_13, c2_14, c2_15); sums[16] = vec4f(c2_16, c2_17, c2_18, c2_19); sums[17] = vec4f(c2_20, c2_21, c2_22, c2_23);
  sums[18] = vec4f(c3_0, c3_1, c3_2, c3_3); sums[19] = vec4f(c3_4, c3_5, c3_6, c3_7); sums[20] = vec4f(c3_8, c3_9, c3_10, c3_11); sums[21] = vec4f(c3_12, c3_13, c3_14, c3_15); sums[22] = vec4f(c3_16, c3_17, c3_18, c3_19); sums[23] = vec4f(c3_20, c3_21, c3_22, c3_23);
  sums[24] = vec4f(c4_0, c4_1, c4_2, c4_3); sums[25] = vec4f(c4_4, c4_5, c4_6, c4_7); sums[26] = vec4f(c4_8, c4_9, c4_10, c4_11); sums[27] = vec4f(c4_12, c4_13, c4_14, c4_15); sums[28] = vec4f(c4_16, c4_17, c4_18, c4_19); sums[29] = vec4f(c4_20, c4_21, c4_22, c4_23);
  sums[30] = vec4f(c5_0, c5_1, c5_2, c5_3); sums[31] = vec4f(c5_4, c5_5, c5_6, c5_7); sums[32] = vec4f(c5_8, c5_9, c5_10, c5_11); sums[33] = vec4f(c5_12, c5_13, c5_14, c5_15); sums[34] = vec4f(c5_16, c5_17, c5_18, c5_19); sums[35] = vec4f(c5_20, c5_21, c5_22, c5_23);
  for (var i = 0u; i < p.stores; i++) {
    store((panelA + i / 6u) * 8u + lane, tileColumn * 6u + i % 6u, sums[i]);
  }
}
