// lavapipe with 16 vector registers (AVX2): products of a column are added as a tree, so that its sums stay in registers
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
@group(0) @binding(0) var A: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var B: texture_storage_2d<rgba32float, read>;
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
  let rowTiles = (p.M + 31u) / 32u;
  let columnTiles = (p.N + 23u) / 24u;
  let tile = group.y * groups.x + group.x;
  if (tile >= rowTiles * columnTiles) { return; }
  let band = tile / (rowTiles * 4u);
  let inBand = tile % (rowTiles * 4u);
  let wide = min(4u, columnTiles - band * 4u);
  let tileColumn = band * 4u + inBand % wide;
  let panelA = (inBand / wide) * 4u;
  let panelB = tileColumn * 3u;
  let s0 = (lane & 0xfffffff8u) + 0u; let s1 = (lane & 0xfffffff8u) + 1u; let s2 = (lane & 0xfffffff8u) + 2u; let s3 = (lane & 0xfffffff8u) + 3u; let s4 = (lane & 0xfffffff8u) + 4u; let s5 = (lane & 0xfffffff8u) + 5u; let s6 = (lane & 0xfffffff8u) + 6u; let s7 = (lane & 0xfffffff8u) + 7u;
  let plainA = p.plainA != 0u;
  let kA = select(8u, 1u, plainA); let xA = select(lane, 0u, plainA);
  let yA0 = select(panelA + 0u, (panelA + 0u) * 8u + lane, plainA);
  let yA1 = select(panelA + 1u, (panelA + 1u) * 8u + lane, plainA);
  let yA2 = select(panelA + 2u, (panelA + 2u) * 8u + lane, plainA);
  let yA3 = select(panelA + 3u, (panelA + 3u) * 8u + lane, plainA);
  let plainB = p.plainB != 0u;
  let kB = select(8u, 1u, plainB); let xB = select(lane, 0u, plainB);
  let yB0 = select(panelB + 0u, (panelB + 0u) * 8u + lane, plainB);
  let yB1 = select(panelB + 1u, (panelB + 1u) * 8u + lane, plainB);
  let yB2 = select(panelB + 2u, (panelB + 2u) * 8u + lane, plainB);
  var c0_0 = 0.0; var c0_1 = 0.0; var c0_2 = 0.0; var c0_3 = 0.0; var c0_4 = 0.0; var c0_5 = 0.0; var c0_6 = 0.0; var c0_7 = 0.0; var c0_8 = 0.0; var c0_9 = 0.0; var c0_10 = 0.0; var c0_11 = 0.0; var c0_12 = 0.0; var c0_13 = 0.0; var c0_14 = 0.0; var c0_15 = 0.0; var c0_16 = 0.0; var c0_17 = 0.0; var c0_18 = 0.0; var c0_19 = 0.0; var c0_20 = 0.0; var c0_21 = 0.0; var c0_22 = 0.0; var c0_23 = 0.0;
  var c1_0 = 0.0; var c1_1 = 0.0; var c1_2 = 0.0; var c1_3 = 0.0; var c1_4 = 0.0; var c1_5 = 0.0; var c1_6 = 0.0; var c1_7 = 0.0; var c1_8 = 0.0; var c1_9 = 0.0; var c1_10 = 0.0; var c1_11 = 0.0; var c1_12 = 0.0; var c1_13 = 0.0; var c1_14 = 0.0; var c1_15 = 0.0; var c1_16 = 0.0; var c1_17 = 0.0; var c1_18 = 0.0; var c1_19 = 0.0; var c1_20 = 0.0; var c1_21 = 0.0; var c1_22 = 0.0; var c1_23 = 0.0;
  var c2_0 = 0.0; var c2_1 = 0.0; var c2_2 = 0.0; var c2_3 = 0.0; var c2_4 = 0.0; var c2_5 = 0.0; var c2_6 = 0.0; var c2_7 = 0.0; var c2_8 = 0.0; var c2_9 = 0.0; var c2_10 = 0.0; var c2_11 = 0.0; var c2_12 = 0.0; var c2_13 = 0.0; var c2_14 = 0.0; var c2_15 = 0.0; var c2_16 = 0.0; var c2_17 = 0.0; var c2_18 = 0.0; var c2_19 = 0.0; var c2_20 = 0.0; var c2_21 = 0.0; var c2_22 = 0.0; var c2_23 = 0.0;
  var c3_0 = 0.0; var c3_1 = 0.0; var c3_2 = 0.0; var c3_3 = 0.0; var c3_4 = 0.0; var c3_5 = 0.0; var c3_6 = 0.0; var c3_7 = 0.0; var c3_8 = 0.0; var c3_9 = 0.0; var c3_10 = 0.0; var c3_11 = 0.0; var c3_12 = 0.0; var c3_13 = 0.0; var c3_14 = 0.0; var c3_15 = 0.0; var c3_16 = 0.0; var c3_17 = 0.0; var c3_18 = 0.0; var c3_19 = 0.0; var c3_20 = 0.0; var c3_21 = 0.0; var c3_22 = 0.0; var c3_23 = 0.0;
  for (var k = 0u; k < p.steps; k++) {
    let a0u0 = textureLoad(A, vec2u((2u * k) * kA + xA, yA0)); let a0u1 = textureLoad(A, vec2u((2u * k + 1u) * kA + xA, yA0));
    let a1u0 = textureLoad(A, vec2u((2u * k) * kA + xA, yA1)); let a1u1 = textureLoad(A, vec2u((2u * k + 1u) * kA + xA, yA1));
    let a2u0 = textureLoad(A, vec2u((2u * k) * kA + xA, yA2)); let a2u1 = textureLoad(A, vec2u((2u * k + 1u) * kA + xA, yA2));
    let a3u0 = textureLoad(A, vec2u((2u * k) * kA + xA, yA3)); let a3u1 = textureLoad(A, vec2u((2u * k + 1u) * kA + xA, yA3));
    let b0u0 = textureLoad(B, vec2u((2u * k) * kB + xB, yB0)); let b0u1 = textureLoad(B, vec2u((2u * k + 1u) * kB + xB, yB0));
    let b1u0 = textureLoad(B, vec2u((2u * k) * kB + xB, yB1)); let b1u1 = textureLoad(B, vec2u((2u * k + 1u) * kB + xB, yB1));
    let b2u0 = textureLoad(B, vec2u((2u * k) * kB + xB, yB2)); let b2u1 = textureLoad(B, vec2u((2u * k + 1u) * kB + xB, yB2));
    { let b0x = subgroupShuffle(b0u0.x, s0); let b0y = subgroupShuffle(b0u0.y, s0); let b0z = subgroupShuffle(b0u0.z, s0); let b0w = subgroupShuffle(b0u0.w, s0); let b1x = subgroupShuffle(b0u1.x, s0); let b1y = subgroupShuffle(b0u1.y, s0); let b1z = subgroupShuffle(b0u1.z, s0); let b1w = subgroupShuffle(b0u1.w, s0);
      c0_0 += ((a0u0.x * b0x + a0u0.y * b0y) + (a0u0.z * b0z + a0u0.w * b0w)) + ((a0u1.x * b1x + a0u1.y * b1y) + (a0u1.z * b1z + a0u1.w * b1w));
      c1_0 += ((a1u0.x * b0x + a1u0.y * b0y) + (a1u0.z * b0z + a1u0.w * b0w)) + ((a1u1.x * b1x + a1u1.y * b1y) + (a1u1.z * b1z + a1u1.w * b1w));
      c2_0 += ((a2u0.x * b0x + a2u0.y * b0y) + (a2u0.z * b0z + a2u0.w * b0w)) + ((a2u1.x * b1x + a2u1.y * b1y) + (a2u1.z * b1z + a2u1.w * b1w));
      c3_0 += ((a3u0.x * b0x + a3u0.y * b0y) + (a3u0.z * b0z + a3u0.w * b0w)) + ((a3u1.x * b1x + a3u1.y * b1y) + (a3u1.z * b1z + a3u1.w * b1w));
    }
    { let b0x = subgroupShuffle(b0u0.x, s1); let b0y = subgroupShuffle(b0u0.y, s1); let b0z = subgroupShuffle(b0u0.z, s1); let b0w = subgroupShuffle(b0u0.w, s1); let b1x = subgroupShuffle(b0u1.x, s1); let b1y = subgroupShuffle(b0u1.y, s1); let b1z = subgroupShuffle(b0u1.z, s1); let b1w = subgroupShuffle(b0u1.w, s1);
      c0_1 += ((a0u0.x * b0x + a0u0.y * b0y) + (a0u0.z * b0z + a0u0.w * b0w)) + ((a0u1.x * b1x + a0u1.y * b1y) + (a0u1.z * b1z + a0u1.w * b1w));
      c1_1 += ((a1u0.x * b0x + a1u0.y * b0y) + (a1u0.z * b0z + a1u0.w * b0w)) + ((a1u1.x * b1x + a1u1.y * b1y) + (a1u1.z * b1z + a1u1.w * b1w));
      c2_1 += ((a2u0.x * b0x + a2u0.y * b0y) + (a2u0.z * b0z + a2u0.w * b0w)) + ((a2u1.x * b1x + a2u1.y * b1y) + (a2u1.z * b1z + a2u1.w * b1w));
      c3_1 += ((a3u0.x * b0x + a3u0.y * b0y) + (a3u0.z * b0z + a3u0.w * b0w)) + ((a3u1.x * b1x + a3u1.y * b1y) + (a3u1.z * b1z + a3u1.w * b1w));
    }
    { let b0x = subgroupShuffle(b0u0.x, s2); let b0y = subgroupShuffle(b0u0.y, s2); let b0z = subgroupShuffle(b0u0.z, s2); let b0w = subgroupShuffle(b0u0.w, s2); let b1x = subgroupShuffle(b0u1.x, s2); let b1y = subgroupShuffle(b0u1.y, s2); let b1z = subgroupShuffle(b0u1.z, s2); let b1w = subgroupShuffle(b0u1.w, s2);
      c0_2 += ((a0u0.x * b0x + a0u0.y * b0y) + (a0u0.z * b0z + a0u0.w * b0w)) + ((a0u1.x * b1x + a0u1.y * b1y) + (a0u1.z * b1z + a0u1.w * b1w));
      c1_2 += ((a1u0.x * b0x + a1u0.y * b0y) + (a1u0.z * b0z + a1u0.w * b0w)) + ((a1u1.x * b1x + a1u1.y * b1y) + (a1u1.z * b1z + a1u1.w * b1w));
      c2_2 += ((a2u0.x * b0x + a2u0.y * b0y) + (a2u0.z * b0z + a2u0.w * b0w)) + ((a2u1.x * b1x + a2u1.y * b1y) + (a2u1.z * b1z + a2u1.w * b1w));
      c3_2 += ((a3u0.x * b0x + a3u0.y * b0y) + (a3u0.z * b0z + a3u0.w * b0w)) + ((a3u1.x * b1x + a3u1.y * b1y) + (a3u1.z * b1z + a3u1.w * b1w));
    }
    { let b0x = subgroupShuffle(b0u0.x, s3); let b0y = subgroupShuffle(b0u0.y, s3); let b0z = subgroupShuffle(b0u0.z, s3); let b0w = subgroupShuffle(b0u0.w, s3); let b1x = subgroupShuffle(b0u1.x, s3); let b1y = subgroupShuffle(b0u1.y, s3); let b1z = subgroupShuffle(b0u1.z, s3); let b1w = subgroupShuffle(b0u1.w, s3);
      c0_3 += ((a0u0.x * b0x + a0u0.y * b0y) + (a0u0.z * b0z + a0u0.w * b0w)) + ((a0u1.x * b1x + a0u1.y * b1y) + (a0u1.z * b1z + a0u1.w * b1w));
      c1_3 += ((a1u0.x * b0x + a1u0.y * b0y) + (a1u0.z * b0z + a1u0.w * b0w)) + ((a1u1.x * b1x + a1u1.y * b1y) + (a1u1.z * b1z + a1u1.w * b1w));
      c2_3 += ((a2u0.x * b0x + a2u0.y * b0y) + (a2u0.z * b0z + a2u0.w * b0w)) + ((a2u1.x * b1x + a2u1.y * b1y) + (a2u1.z * b1z + a2u1.w * b1w));
      c3_3 += ((a3u0.x * b0x + a3u0.y * b0y) + (a3u0.z * b0z + a3u0.w * b0w)) + ((a3u1.x * b1x + a3u1.y * b1y) + (a3u1.z * b1z + a3u1.w * b1w));
    }
    { let b0x = subgroupShuffle(b0u0.x, s4); let b0y = subgroupShuffle(b0u0.y, s4); let b0z = subgroupShuffle(b0u0.z, s4); let b0w = subgroupShuffle(b0u0.w, s4); let b1x = subgroupShuffle(b0u1.x, s4); let b1y = subgroupShuffle(b0u1.y, s4); let b1z = subgroupShuffle(b0u1.z, s4); let b1w = subgroupShuffle(b0u1.w, s4);
      c0_4 += ((a0u0.x * b0x + a0u0.y * b0y) + (a0u0.z * b0z + a0u0.w * b0w)) + ((a0u1.x * b1x + a0u1.y * b1y) + (a0u1.z * b1z + a0u1.w * b1w));
      c1_4 += ((a1u0.x * b0x + a1u0.y * b0y) + (a1u0.z * b0z + a1u0.w * b0w)) + ((a1u1.x * b1x + a1u1.y * b1y) + (a1u1.z * b1z + a1u1.w * b1w));
      c2_4 += ((a2u0.x * b0x + a2u0.y * b0y) + (a2u0.z * b0z + a2u0.w * b0w)) + ((a2u1.x * b1x + a2u1.y * b1y) + (a2u1.z * b1z + a2u1.w * b1w));
      c3_4 += ((a3u0.x * b0x + a3u0.y * b0y) + (a3u0.z * b0z + a3u0.w * b0w)) + ((a3u1.x * b1x + a3u1.y * b1y) + (a3u1.z * b1z + a3u1.w * b1w));
    }
    { let b0x = subgroupShuffle(b0u0.x, s5); let b0y = subgroupShuffle(b0u0.y, s5); let b0z = subgroupShuffle(b0u0.z, s5); let b0w = subgroupShuffle(b0u0.w, s5); let b1x = subgroupShuffle(b0u1.x, s5); let b1y = subgroupShuffle(b0u1.y, s5); let b1z = subgroupShuffle(b0u1.z, s5); let b1w = subgroupShuffle(b0u1.w, s5);
      c0_5 += ((a0u0.x * b0x + a0u0.y * b0y) + (a0u0.z * b0z + a0u0.w * b0w)) + ((a0u1.x * b1x + a0u1.y * b1y) + (a0u1.z * b1z + a0u1.w * b1w));
      c1_5 += ((a1u0.x * b0x + a1u0.y * b0y) + (a1u0.z * b0z + a1u0.w * b0w)) + ((a1u1.x * b1x + a1u1.y * b1y) + (a1u1.z * b1z + a1u1.w * b1w));
      c2_5 += ((a2u0.x * b0x + a2u0.y * b0y) + (a2u0.z * b0z + a2u0.w * b0w)) + ((a2u1.x * b1x + a2u1.y * b1y) + (a2u1.z * b1z + a2u1.w * b1w));
      c3_5 += ((a3u0.x * b0x + a3u0.y * b0y) + (a3u0.z * b0z + a3u0.w * b0w)) + ((a3u1.x * b1x + a3u1.y * b1y) + (a3u1.z * b1z + a3u1.w * b1w));
    }
    { let b0x = subgroupShuffle(b0u0.x, s6); let b0y = subgroupShuffle(b0u0.y, s6); let b0z = subgroupShuffle(b0u0.z, s6); let b0w = subgroupShuffle(b0u0.w, s6); let b1x = subgroupShuffle(b0u1.x, s6); let b1y = subgroupShuffle(b0u1.y, s6); let b1z = subgroupShuffle(b0u1.z, s6); let b1w = subgroupShuffle(b0u1.w, s6);
      c0_6 += ((a0u0.x * b0x + a0u0.y * b0y) + (a0u0.z * b0z + a0u0.w * b0w)) + ((a0u1.x * b1x + a0u1.y * b1y) + (a0u1.z * b1z + a0u1.w * b1w));
      c1_6 += ((a1u0.x * b0x + a1u0.y * b0y) + (a1u0.z * b0z + a1u0.w * b0w)) + ((a1u1.x * b1x + a1u1.y * b1y) + (a1u1.z * b1z + a1u1.w * b1w));
      c2_6 += ((a2u0.x * b0x + a2u0.y * b0y) + (a2u0.z * b0z + a2u0.w * b0w)) + ((a2u1.x * b1x + a2u1.y * b1y) + (a2u1.z * b1z + a2u1.w * b1w));
      c3_6 += ((a3u0.x * b0x + a3u0.y * b0y) + (a3u0.z * b0z + a3u0.w * b0w)) + ((a3u1.x * b1x + a3u1.y * b1y) + (a3u1.z * b1z + a3u1.w * b1w));
    }
    { let b0x = subgroupShuffle(b0u0.x, s7); let b0y = subgroupShuffle(b0u0.y, s7); let b0z = subgroupShuffle(b0u0.z, s7); let b0w = subgroupShuffle(b0u0.w, s7); let b1x = subgroupShuffle(b0u1.x, s7); let b1y = subgroupShuffle(b0u1.y, s7); let b1z = subgroupShuffle(b0u1.z, s7); let b1w = subgroupShuffle(b0u1.w, s7);
      c0_7 += ((a0u0.x * b0x + a0u0.y * b0y) + (a0u0.z * b0z + a0u0.w * b0w)) + ((a0u1.x * b1x + a0u1.y * b1y) + (a0u1.z * b1z + a0u1.w * b1w));
      c1_7 += ((a1u0.x * b0x + a1u0.y * b0y) + (a1u0.z * b0z + a1u0.w * b0w)) + ((a1u1.x * b1x + a1u1.y * b1y) + (a1u1.z * b1z + a1u1.w * b1w));
      c2_7 += ((a2u0.x * b0x + a2u0.y * b0y) + (a2u0.z * b0z + a2u0.w * b0w)) + ((a2u1.x * b1x + a2u1.y * b1y) + (a2u1.z * b1z + a2u1.w * b1w));
      c3_7 += ((a3u0.x * b0x + a3u0.y * b0y) + (a3u0.z * b0z + a3u0.w * b0w)) + ((a3u1.x * b1x + a3u1.y * b1y) + (a3u1.z * b1z + a3u1.w * b1w));
    }
    { let b0x = subgroupShuffle(b1u0.x, s0); let b0y = subgroupShuffle(b1u0.y, s0); let b0z = subgroupShuffle(b1u0.z, s0); let b0w = subgroupShuffle(b1u0.w, s0); let b1x = subgroupShuffle(b1u1.x, s0); let b1y = subgroupShuffle(b1u1.y, s0); let b1z = subgroupShuffle(b1u1.z, s0); let b1w = subgroupShuffle(b1u1.w, s0);
      c0_8 += ((a0u0.x * b0x + a0u0.y * b0y) + (a0u0.z * b0z + a0u0.w * b0w)) + ((a0u1.x * b1x + a0u1.y * b1y) + (a0u1.z * b1z + a0u1.w * b1w));
      c1_8 += ((a1u0.x * b0x + a1u0.y * b0y) + (a1u0.z * b0z + a1u0.w * b0w)) + ((a1u1.x * b1x + a1u1.y * b1y) + (a1u1.z * b1z + a1u1.w * b1w));
      c2_8 += ((a2u0.x * b0x + a2u0.y * b0y) + (a2u0.z * b0z + a2u0.w * b0w)) + ((a2u1.x * b1x + a2u1.y * b1y) + (a2u1.z * b1z + a2u1.w * b1w));
      c3_8 += ((a3u0.x * b0x + a3u0.y * b0y) + (a3u0.z * b0z + a3u0.w * b0w)) + ((a3u1.x * b1x + a3u1.y * b1y) + (a3u1.z * b1z + a3u1.w * b1w));
    }
    { let b0x = subgroupShuffle(b1u0.x, s1); let b0y = subgroupShuffle(b1u0.y, s1); let b0z = subgroupShuffle(b1u0.z, s1); let b0w = subgroupShuffle(b1u0.w, s1); let b1x = subgroupShuffle(b1u1.x, s1); let b1y = subgroupShuffle(b1u1.y, s1); let b1z = subgroupShuffle(b1u1.z, s1); let b1w = subgroupShuffle(b1u1.w, s1);
      c0_9 += ((a0u0.x * b0x + a0u0.y * b0y) + (a0u0.z * b0z + a0u0.w * b0w)) + ((a0u1.x * b1x + a0u1.y * b1y) + (a0u1.z * b1z + a0u1.w * b1w));
      c1_9 += ((a1u0.x * b0x + a1u0.y * b0y) + (a1u0.z * b0z + a1u0.w * b0w)) + ((a1u1.x * b1x + a1u1.y * b1y) + (a1u1.z * b1z + a1u1.w * b1w));
      c2_9 += ((a2u0.x * b0x + a2u0.y * b0y) + (a2u0.z * b0z + a2u0.w * b0w)) + ((a2u1.x * b1x + a2u1.y * b1y) + (a2u1.z * b1z + a2u1.w * b1w));
      c3_9 += ((a3u0.x * b0x + a3u0.y * b0y) + (a3u0.z * b0z + a3u0.w * b0w)) + ((a3u1.x * b1x + a3u1.y * b1y) + (a3u1.z * b1z + a3u1.w * b1w));
    }
    { let b0x = subgroupShuffle(b1u0.x, s2); let b0y = subgroupShuffle(b1u0.y, s2); let b0z = subgroupShuffle(b1u0.z, s2); let b0w = subgroupShuffle(b1u0.w, s2); let b1x = subgroupShuffle(b1u1.x, s2); let b1y = subgroupShuffle(b1u1.y, s2); let b1z = subgroupShuffle(b1u1.z, s2); let b1w = subgroupShuffle(b1u1.w, s2);
      c0_10 += ((a0u0.x * b0x + a0u0.y * b0y) + (a0u0.z * b0z + a0u0.w * b0w)) + ((a0u1.x * b1x + a0u1.y * b1y) + (a0u1.z * b1z + a0u1.w * b1w));
      c1_10 += ((a1u0.x * b0x + a1u0.y * b0y) + (a1u0.z * b0z + a1u0.w * b0w)) + ((a1u1.x * b1x + a1u1.y * b1y) + (a1u1.z * b1z + a1u1.w * b1w));
      c2_10 += ((a2u0.x * b0x + a2u0.y * b0y) + (a2u0.z * b0z + a2u0.w * b0w)) + ((a2u1.x * b1x + a2u1.y * b1y) + (a2u1.z * b1z + a2u1.w * b1w));
      c3_10 += ((a3u0.x * b0x + a3u0.y * b0y) + (a3u0.z * b0z + a3u0.w * b0w)) + ((a3u1.x * b1x + a3u1.y * b1y) + (a3u1.z * b1z + a3u1.w * b1w));
    }
    { let b0x = subgroupShuffle(b1u0.x, s3); let b0y = subgroupShuffle(b1u0.y, s3); let b0z = subgroupShuffle(b1u0.z, s3); let b0w = subgroupShuffle(b1u0.w, s3); let b1x = subgroupShuffle(b1u1.x, s3); let b1y = subgroupShuffle(b1u1.y, s3); let b1z = subgroupShuffle(b1u1.z, s3); let b1w = subgroupShuffle(b1u1.w, s3);
      c0_11 += ((a0u0.x * b0x + a0u0.y * b0y) + (a0u0.z * b0z + a0u0.w * b0w)) + ((a0u1.x * b1x + a0u1.y * b1y) + (a0u1.z * b1z + a0u1.w * b1w));
      c1_11 += ((a1u0.x * b0x + a1u0.y * b0y) + (a1u0.z * b0z + a1u0.w * b0w)) + ((a1u1.x * b1x + a1u1.y * b1y) + (a1u1.z * b1z + a1u1.w * b1w));
      c2_11 += ((a2u0.x * b0x + a2u0.y * b0y) + (a2u0.z * b0z + a2u0.w * b0w)) + ((a2u1.x * b1x + a2u1.y * b1y) + (a2u1.z * b1z + a2u1.w * b1w));
      c3_11 += ((a3u0.x * b0x + a3u0.y * b0y) + (a3u0.z * b0z + a3u0.w * b0w)) + ((a3u1.x * b1x + a3u1.y * b1y) + (a3u1.z * b1z + a3u1.w * b1w));
    }
    { let b0x = subgroupShuffle(b1u0.x, s4); let b0y = subgroupShuffle(b1u0.y, s4); let b0z = subgroupShuffle(b1u0.z, s4); let b0w = subgroupShuffle(b1u0.w, s4); let b1x = subgroupShuffle(b1u1.x, s4); let b1y = subgroupShuffle(b1u1.y, s4); let b1z = subgroupShuffle(b1u1.z, s4); let b1w = subgroupShuffle(b1u1.w, s4);
      c0_12 += ((a0u0.x * b0x + a0u0.y * b0y) + (a0u0.z * b0z + a0u0.w * b0w)) + ((a0u1.x * b1x + a0u1.y * b1y) + (a0u1.z * b1z + a0u1.w * b1w));
      c1_12 += ((a1u0.x * b0x + a1u0.y * b0y) + (a1u0.z * b0z + a1u0.w * b0w)) + ((a1u1.x * b1x + a1u1.y * b1y) + (a1u1.z * b1z + a1u1.w * b1w));
      c2_12 += ((a2u0.x * b0x + a2u0.y * b0y) + (a2u0.z * b0z + a2u0.w * b0w)) + ((a2u1.x * b1x + a2u1.y * b1y) + (a2u1.z * b1z + a2u1.w * b1w));
      c3_12 += ((a3u0.x * b0x + a3u0.y * b0y) + (a3u0.z * b0z + a3u0.w * b0w)) + ((a3u1.x * b1x + a3u1.y * b1y) + (a3u1.z * b1z + a3u1.w * b1w));
// … 38 lines are left out here, with the SHA-256 ef63fc9c29f3350e …
      c0_19 += ((a0u0.x * b0x + a0u0.y * b0y) + (a0u0.z * b0z + a0u0.w * b0w)) + ((a0u1.x * b1x + a0u1.y * b1y) + (a0u1.z * b1z + a0u1.w * b1w));
      c1_19 += ((a1u0.x * b0x + a1u0.y * b0y) + (a1u0.z * b0z + a1u0.w * b0w)) + ((a1u1.x * b1x + a1u1.y * b1y) + (a1u1.z * b1z + a1u1.w * b1w));
      c2_19 += ((a2u0.x * b0x + a2u0.y * b0y) + (a2u0.z * b0z + a2u0.w * b0w)) + ((a2u1.x * b1x + a2u1.y * b1y) + (a2u1.z * b1z + a2u1.w * b1w));
      c3_19 += ((a3u0.x * b0x + a3u0.y * b0y) + (a3u0.z * b0z + a3u0.w * b0w)) + ((a3u1.x * b1x + a3u1.y * b1y) + (a3u1.z * b1z + a3u1.w * b1w));
    }
    { let b0x = subgroupShuffle(b2u0.x, s4); let b0y = subgroupShuffle(b2u0.y, s4); let b0z = subgroupShuffle(b2u0.z, s4); let b0w = subgroupShuffle(b2u0.w, s4); let b1x = subgroupShuffle(b2u1.x, s4); let b1y = subgroupShuffle(b2u1.y, s4); let b1z = subgroupShuffle(b2u1.z, s4); let b1w = subgroupShuffle(b2u1.w, s4);
      c0_20 += ((a0u0.x * b0x + a0u0.y * b0y) + (a0u0.z * b0z + a0u0.w * b0w)) + ((a0u1.x * b1x + a0u1.y * b1y) + (a0u1.z * b1z + a0u1.w * b1w));
      c1_20 += ((a1u0.x * b0x + a1u0.y * b0y) + (a1u0.z * b0z + a1u0.w * b0w)) + ((a1u1.x * b1x + a1u1.y * b1y) + (a1u1.z * b1z + a1u1.w * b1w));
      c2_20 += ((a2u0.x * b0x + a2u0.y * b0y) + (a2u0.z * b0z + a2u0.w * b0w)) + ((a2u1.x * b1x + a2u1.y * b1y) + (a2u1.z * b1z + a2u1.w * b1w));
      c3_20 += ((a3u0.x * b0x + a3u0.y * b0y) + (a3u0.z * b0z + a3u0.w * b0w)) + ((a3u1.x * b1x + a3u1.y * b1y) + (a3u1.z * b1z + a3u1.w * b1w));
    }
    { let b0x = subgroupShuffle(b2u0.x, s5); let b0y = subgroupShuffle(b2u0.y, s5); let b0z = subgroupShuffle(b2u0.z, s5); let b0w = subgroupShuffle(b2u0.w, s5); let b1x = subgroupShuffle(b2u1.x, s5); let b1y = subgroupShuffle(b2u1.y, s5); let b1z = subgroupShuffle(b2u1.z, s5); let b1w = subgroupShuffle(b2u1.w, s5);
      c0_21 += ((a0u0.x * b0x + a0u0.y * b0y) + (a0u0.z * b0z + a0u0.w * b0w)) + ((a0u1.x * b1x + a0u1.y * b1y) + (a0u1.z * b1z + a0u1.w * b1w));
      c1_21 += ((a1u0.x * b0x + a1u0.y * b0y) + (a1u0.z * b0z + a1u0.w * b0w)) + ((a1u1.x * b1x + a1u1.y * b1y) + (a1u1.z * b1z + a1u1.w * b1w));
      c2_21 += ((a2u0.x * b0x + a2u0.y * b0y) + (a2u0.z * b0z + a2u0.w * b0w)) + ((a2u1.x * b1x + a2u1.y * b1y) + (a2u1.z * b1z + a2u1.w * b1w));
      c3_21 += ((a3u0.x * b0x + a3u0.y * b0y) + (a3u0.z * b0z + a3u0.w * b0w)) + ((a3u1.x * b1x + a3u1.y * b1y) + (a3u1.z * b1z + a3u1.w * b1w));
    }
    { let b0x = subgroupShuffle(b2u0.x, s6); let b0y = subgroupShuffle(b2u0.y, s6); let b0z = subgroupShuffle(b2u0.z, s6); let b0w = subgroupShuffle(b2u0.w, s6); let b1x = subgroupShuffle(b2u1.x, s6); let b1y = subgroupShuffle(b2u1.y, s6); let b1z = subgroupShuffle(b2u1.z, s6); let b1w = subgroupShuffle(b2u1.w, s6);
      c0_22 += ((a0u0.x * b0x + a0u0.y * b0y) + (a0u0.z * b0z + a0u0.w * b0w)) + ((a0u1.x * b1x + a0u1.y * b1y) + (a0u1.z * b1z + a0u1.w * b1w));
      c1_22 += ((a1u0.x * b0x + a1u0.y * b0y) + (a1u0.z * b0z + a1u0.w * b0w)) + ((a1u1.x * b1x + a1u1.y * b1y) + (a1u1.z * b1z + a1u1.w * b1w));
      c2_22 += ((a2u0.x * b0x + a2u0.y * b0y) + (a2u0.z * b0z + a2u0.w * b0w)) + ((a2u1.x * b1x + a2u1.y * b1y) + (a2u1.z * b1z + a2u1.w * b1w));
      c3_22 += ((a3u0.x * b0x + a3u0.y * b0y) + (a3u0.z * b0z + a3u0.w * b0w)) + ((a3u1.x * b1x + a3u1.y * b1y) + (a3u1.z * b1z + a3u1.w * b1w));
    }
    { let b0x = subgroupShuffle(b2u0.x, s7); let b0y = subgroupShuffle(b2u0.y, s7); let b0z = subgroupShuffle(b2u0.z, s7); let b0w = subgroupShuffle(b2u0.w, s7); let b1x = subgroupShuffle(b2u1.x, s7); let b1y = subgroupShuffle(b2u1.y, s7); let b1z = subgroupShuffle(b2u1.z, s7); let b1w = subgroupShuffle(b2u1.w, s7);
      c0_23 += ((a0u0.x * b0x + a0u0.y * b0y) + (a0u0.z * b0z + a0u0.w * b0w)) + ((a0u1.x * b1x + a0u1.y * b1y) + (a0u1.z * b1z + a0u1.w * b1w));
      c1_23 += ((a1u0.x * b0x + a1u0.y * b0y) + (a1u0.z * b0z + a1u0.w * b0w)) + ((a1u1.x * b1x + a1u1.y * b1y) + (a1u1.z * b1z + a1u1.w * b1w));
      c2_23 += ((a2u0.x * b0x + a2u0.y * b0y) + (a2u0.z * b0z + a2u0.w * b0w)) + ((a2u1.x * b1x + a2u1.y * b1y) + (a2u1.z * b1z + a2u1.w * b1w));
      c3_23 += ((a3u0.x * b0x + a3u0.y * b0y) + (a3u0.z * b0z + a3u0.w * b0w)) + ((a3u1.x * b1x + a3u1.y * b1y) + (a3u1.z * b1z + a3u1.w * b1w));
    }
  }
  // One copy of the epilogue's code: unrolled it would take longer to compile than all the rest.
  var sums: array<vec4f, 24>;
  sums[0] = vec4f(c0_0, c0_1, c0_2, c0_3); sums[1] = vec4f(c0_4, c0_5, c0_6, c0_7); sums[2] = vec4f(c0_8, c0_9, c0_10, c0_11); sums[3] = vec4f(c0_12, c0_13, c0_14, c0_15); sums[4] = vec4f(c0_16, c0_17, c0_18, c0_19); sums[5] = vec4f(c0_20, c0_21, c0_22, c0_23);
  sums[6] = vec4f(c1_0, c1_1, c1_2, c1_3); sums[7] = vec4f(c1_4, c1_5, c1_6, c1_7); sums[8] = vec4f(c1_8, c1_9, c1_10, c1_11); sums[9] = vec4f(c1_12, c1_13, c1_14, c1_15); sums[10] = vec4f(c1_16, c1_17, c1_18, c1_19); sums[11] = vec4f(c1_20, c1_21, c1_22, c1_23);
  sums[12] = vec4f(c2_0, c2_1, c2_2, c2_3); sums[13] = vec4f(c2_4, c2_5, c2_6, c2_7); sums[14] = vec4f(c2_8, c2_9, c2_10, c2_11); sums[15] = vec4f(c2_12, c2_13, c2_14, c2_15); sums[16] = vec4f(c2_16, c2_17, c2_18, c2_19); sums[17] = vec4f(c2_20, c2_21, c2_22, c2_23);
  sums[18] = vec4f(c3_0, c3_1, c3_2, c3_3); sums[19] = vec4f(c3_4, c3_5, c3_6, c3_7); sums[20] = vec4f(c3_8, c3_9, c3_10, c3_11); sums[21] = vec4f(c3_12, c3_13, c3_14, c3_15); sums[22] = vec4f(c3_16, c3_17, c3_18, c3_19); sums[23] = vec4f(c3_20, c3_21, c3_22, c3_23);
  for (var i = 0u; i < p.stores; i++) {
    store((panelA + i / 6u) * 8u + lane, tileColumn * 6u + i % 6u, sums[i]);
  }
}
