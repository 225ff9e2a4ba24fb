// the same from storage textures, whose loads compute no level of detail
// a CPU: dropout=false dtype=f16 headDim=20
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
struct Params { stride: u32, hidden4: u32, heads: u32, base: u32, firstTile: u32, firstHead: u32, scale: f32, threshold: u32, keepScale: f32, seed: u32, stream: u32, firstRow: u32, block: u32, minusInfinity: f32, foldShift: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var QKV: texture_storage_2d<rgba16float, read>;
@group(0) @binding(1) var<storage, read> tiles: array<vec4u>;
@group(0) @binding(2) var<storage, read_write> outO: array<Half4>;
@group(0) @binding(3) var<storage, read_write> outL: array<f32>;



@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let tile = tiles[p.firstTile + group.x];
  let begin = tile.x - p.base; let end = tile.y - p.base; let first = tile.z - p.base;
  let head = group.y;
  let column = head * 5u;
  let lane0 = lane & 0xfffffff8u;
  let row0 = min(first + 0u + lane, end - 1u); var m0 = -0x1.fffffep+127; var l0 = 0.0;
  let row1 = min(first + 8u + lane, end - 1u); var m1 = -0x1.fffffep+127; var l1 = 0.0;
  let q0_0 = textureLoad(QKV, vec2u(column + 0u, row0)) * (p.scale * 1.4426950408889634); let q0_1 = textureLoad(QKV, vec2u(column + 1u, row0)) * (p.scale * 1.4426950408889634); let q0_2 = textureLoad(QKV, vec2u(column + 2u, row0)) * (p.scale * 1.4426950408889634); let q0_3 = textureLoad(QKV, vec2u(column + 3u, row0)) * (p.scale * 1.4426950408889634); let q0_4 = textureLoad(QKV, vec2u(column + 4u, row0)) * (p.scale * 1.4426950408889634);
  let q1_0 = textureLoad(QKV, vec2u(column + 0u, row1)) * (p.scale * 1.4426950408889634); let q1_1 = textureLoad(QKV, vec2u(column + 1u, row1)) * (p.scale * 1.4426950408889634); let q1_2 = textureLoad(QKV, vec2u(column + 2u, row1)) * (p.scale * 1.4426950408889634); let q1_3 = textureLoad(QKV, vec2u(column + 3u, row1)) * (p.scale * 1.4426950408889634); let q1_4 = textureLoad(QKV, vec2u(column + 4u, row1)) * (p.scale * 1.4426950408889634);
  var o0_0 = vec4f(); var o0_1 = vec4f(); var o0_2 = vec4f(); var o0_3 = vec4f(); var o0_4 = vec4f();
  var o1_0 = vec4f(); var o1_1 = vec4f(); var o1_2 = vec4f(); var o1_3 = vec4f(); var o1_4 = vec4f();
  for (var block = begin; block < end; block += 8u) {
    let other = min(block + lane, end - 1u);
    var s0_0 = 0.0; var s0_1 = 0.0; var s0_2 = 0.0; var s0_3 = 0.0; var s0_4 = 0.0; var s0_5 = 0.0; var s0_6 = 0.0; var s0_7 = 0.0;
    var s1_0 = 0.0; var s1_1 = 0.0; var s1_2 = 0.0; var s1_3 = 0.0; var s1_4 = 0.0; var s1_5 = 0.0; var s1_6 = 0.0; var s1_7 = 0.0;
    { let v = textureLoad(QKV, vec2u(p.hidden4 + column + 0u, other));
    { let b = subgroupShuffle(v.x, lane0 + 0u);
    s0_0 = fma(q0_0.x, b, s0_0);
    s1_0 = fma(q1_0.x, b, s1_0);
    }
    { let b = subgroupShuffle(v.y, lane0 + 0u);
    s0_0 = fma(q0_0.y, b, s0_0);
    s1_0 = fma(q1_0.y, b, s1_0);
    }
    { let b = subgroupShuffle(v.z, lane0 + 0u);
    s0_0 = fma(q0_0.z, b, s0_0);
    s1_0 = fma(q1_0.z, b, s1_0);
    }
    { let b = subgroupShuffle(v.w, lane0 + 0u);
    s0_0 = fma(q0_0.w, b, s0_0);
    s1_0 = fma(q1_0.w, b, s1_0);
    }
    { let b = subgroupShuffle(v.x, lane0 + 1u);
    s0_1 = fma(q0_0.x, b, s0_1);
    s1_1 = fma(q1_0.x, b, s1_1);
    }
    { let b = subgroupShuffle(v.y, lane0 + 1u);
    s0_1 = fma(q0_0.y, b, s0_1);
    s1_1 = fma(q1_0.y, b, s1_1);
    }
    { let b = subgroupShuffle(v.z, lane0 + 1u);
    s0_1 = fma(q0_0.z, b, s0_1);
    s1_1 = fma(q1_0.z, b, s1_1);
    }
    { let b = subgroupShuffle(v.w, lane0 + 1u);
    s0_1 = fma(q0_0.w, b, s0_1);
    s1_1 = fma(q1_0.w, b, s1_1);
    }
    { let b = subgroupShuffle(v.x, lane0 + 2u);
    s0_2 = fma(q0_0.x, b, s0_2);
    s1_2 = fma(q1_0.x, b, s1_2);
    }
    { let b = subgroupShuffle(v.y, lane0 + 2u);
    s0_2 = fma(q0_0.y, b, s0_2);
    s1_2 = fma(q1_0.y, b, s1_2);
    }
    { let b = subgroupShuffle(v.z, lane0 + 2u);
    s0_2 = fma(q0_0.z, b, s0_2);
    s1_2 = fma(q1_0.z, b, s1_2);
    }
    { let b = subgroupShuffle(v.w, lane0 + 2u);
    s0_2 = fma(q0_0.w, b, s0_2);
    s1_2 = fma(q1_0.w, b, s1_2);
    }
    { let b = subgroupShuffle(v.x, lane0 + 3u);
    s0_3 = fma(q0_0.x, b, s0_3);
    s1_3 = fma(q1_0.x, b, s1_3);
    }
    { let b = subgroupShuffle(v.y, lane0 + 3u);
    s0_3 = fma(q0_0.y, b, s0_3);
    s1_3 = fma(q1_0.y, b, s1_3);
    }
    { let b = subgroupShuffle(v.z, lane0 + 3u);
    s0_3 = fma(q0_0.z, b, s0_3);
    s1_3 = fma(q1_0.z, b, s1_3);
    }
    { let b = subgroupShuffle(v.w, lane0 + 3u);
    s0_3 = fma(q0_0.w, b, s0_3);
    s1_3 = fma(q1_0.w, b, s1_3);
    }
    { let b = subgroupShuffle(v.x, lane0 + 4u);
    s0_4 = fma(q0_0.x, b, s0_4);
    s1_4 = fma(q1_0.x, b, s1_4);
    }
    { let b = subgroupShuffle(v.y, lane0 + 4u);
    s0_4 = fma(q0_0.y, b, s0_4);
    s1_4 = fma(q1_0.y, b, s1_4);
    }
    { let b = subgroupShuffle(v.z, lane0 + 4u);
    s0_4 = fma(q0_0.z, b, s0_4);
    s1_4 = fma(q1_0.z, b, s1_4);
    }
    { let b = subgroupShuffle(v.w, lane0 + 4u);
    s0_4 = fma(q0_0.w, b, s0_4);
    s1_4 = fma(q1_0.w, b, s1_4);
    }
    { let b = subgroupShuffle(v.x, lane0 + 5u);
    s0_5 = fma(q0_0.x, b, s0_5);
    s1_5 = fma(q1_0.x, b, s1_5);
    }
    { let b = subgroupShuffle(v.y, lane0 + 5u);
    s0_5 = fma(q0_0.y, b, s0_5);
    s1_5 = fma(q1_0.y, b, s1_5);
    }
    { let b = subgroupShuffle(v.z, lane0 + 5u);
    s0_5 = fma(q0_0.z, b, s0_5);
    s1_5 = fma(q1_0.z, b, s1_5);
    }
    { let b = subgroupShuffle(v.w, lane0 + 5u);
    s0_5 = fma(q0_0.w, b, s0_5);
    s1_5 = fma(q1_0.w, b, s1_5);
    }
    { let b = subgroupShuffle(v.x, lane0 + 6u);
    s0_6 = fma(q0_0.x, b, s0_6);
    s1_6 = fma(q1_0.x, b, s1_6);
    }
    { let b = subgroupShuffle(v.y, lane0 + 6u);
    s0_6 = fma(q0_0.y, b, s0_6);
    s1_6 = fma(q1_0.y, b, s1_6);
// … 1209 lines are left out here, with the SHA-256 2b677bb1e2df6dcb …
    }
    { let b = subgroupShuffle(v.y, lane0 + 6u);
    o0_4.y = fma(s0_6, b, o0_4.y);
    o1_4.y = fma(s1_6, b, o1_4.y);
    }
    { let b = subgroupShuffle(v.z, lane0 + 6u);
    o0_4.z = fma(s0_6, b, o0_4.z);
    o1_4.z = fma(s1_6, b, o1_4.z);
    }
    { let b = subgroupShuffle(v.w, lane0 + 6u);
    o0_4.w = fma(s0_6, b, o0_4.w);
    o1_4.w = fma(s1_6, b, o1_4.w);
    }
    { let b = subgroupShuffle(v.x, lane0 + 7u);
    o0_4.x = fma(s0_7, b, o0_4.x);
    o1_4.x = fma(s1_7, b, o1_4.x);
    }
    { let b = subgroupShuffle(v.y, lane0 + 7u);
    o0_4.y = fma(s0_7, b, o0_4.y);
    o1_4.y = fma(s1_7, b, o1_4.y);
    }
    { let b = subgroupShuffle(v.z, lane0 + 7u);
    o0_4.z = fma(s0_7, b, o0_4.z);
    o1_4.z = fma(s1_7, b, o1_4.z);
    }
    { let b = subgroupShuffle(v.w, lane0 + 7u);
    o0_4.w = fma(s0_7, b, o0_4.w);
    o1_4.w = fma(s1_7, b, o1_4.w);
    }
    }
  }
  if (first + 0u + lane < end) {
    outO[row0 * p.hidden4 + column + 0u] = packHalves(o0_0 / select(l0, 1.0, l0 == 0.0)); outO[row0 * p.hidden4 + column + 1u] = packHalves(o0_1 / select(l0, 1.0, l0 == 0.0)); outO[row0 * p.hidden4 + column + 2u] = packHalves(o0_2 / select(l0, 1.0, l0 == 0.0)); outO[row0 * p.hidden4 + column + 3u] = packHalves(o0_3 / select(l0, 1.0, l0 == 0.0)); outO[row0 * p.hidden4 + column + 4u] = packHalves(o0_4 / select(l0, 1.0, l0 == 0.0));
    outL[row0 * p.heads + head] = select(m0 + log2(l0), -p.minusInfinity, l0 == 0.0);
  }
  if (first + 8u + lane < end) {
    outO[row1 * p.hidden4 + column + 0u] = packHalves(o1_0 / select(l1, 1.0, l1 == 0.0)); outO[row1 * p.hidden4 + column + 1u] = packHalves(o1_1 / select(l1, 1.0, l1 == 0.0)); outO[row1 * p.hidden4 + column + 2u] = packHalves(o1_2 / select(l1, 1.0, l1 == 0.0)); outO[row1 * p.hidden4 + column + 3u] = packHalves(o1_3 / select(l1, 1.0, l1 == 0.0)); outO[row1 * p.hidden4 + column + 4u] = packHalves(o1_4 / select(l1, 1.0, l1 == 0.0));
    outL[row1 * p.heads + head] = select(m1 + log2(l1), -p.minusInfinity, l1 == 0.0);
  }
}
