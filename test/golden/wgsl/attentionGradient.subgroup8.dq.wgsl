// lavapipe: 8 lanes hand rows round by themselves, and loads from textures cost a fraction of those from buffers
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
@group(0) @binding(0) var QKV: texture_2d<f32>;
@group(0) @binding(1) var<storage, read> tiles: array<vec4u>;
@group(0) @binding(2) var DO: texture_2d<f32>;
@group(0) @binding(3) var<storage, read> L: array<f32>;
@group(0) @binding(4) var<storage, read> delta: array<f32>;
@group(0) @binding(5) var<storage, read_write> outD: array<Half4>;



@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let tile = tiles[p.firstTile + group.x];
  let begin = tile.x - p.base; let end = tile.y - p.base; let first = tile.z - p.base;
  let head = group.y;
  let column = head * 5u;
  let lane0 = lane & 0xfffffff8u;
  let row0 = min(first + 0u + lane, end - 1u); let lse0 = L[row0 * p.heads + head]; let delta0 = delta[row0 * p.heads + head];
  let row1 = min(first + 8u + lane, end - 1u); let lse1 = L[row1 * p.heads + head]; let delta1 = delta[row1 * p.heads + head];
  let q0_0 = textureLoad(QKV, vec2u(column + 0u, row0), 0) * (p.scale * 1.4426950408889634); let q0_1 = textureLoad(QKV, vec2u(column + 1u, row0), 0) * (p.scale * 1.4426950408889634); let q0_2 = textureLoad(QKV, vec2u(column + 2u, row0), 0) * (p.scale * 1.4426950408889634); let q0_3 = textureLoad(QKV, vec2u(column + 3u, row0), 0) * (p.scale * 1.4426950408889634); let q0_4 = textureLoad(QKV, vec2u(column + 4u, row0), 0) * (p.scale * 1.4426950408889634);
  let q1_0 = textureLoad(QKV, vec2u(column + 0u, row1), 0) * (p.scale * 1.4426950408889634); let q1_1 = textureLoad(QKV, vec2u(column + 1u, row1), 0) * (p.scale * 1.4426950408889634); let q1_2 = textureLoad(QKV, vec2u(column + 2u, row1), 0) * (p.scale * 1.4426950408889634); let q1_3 = textureLoad(QKV, vec2u(column + 3u, row1), 0) * (p.scale * 1.4426950408889634); let q1_4 = textureLoad(QKV, vec2u(column + 4u, row1), 0) * (p.scale * 1.4426950408889634);
  let g0_0 = textureLoad(DO, vec2u(column + 0u, row0), 0); let g0_1 = textureLoad(DO, vec2u(column + 1u, row0), 0); let g0_2 = textureLoad(DO, vec2u(column + 2u, row0), 0); let g0_3 = textureLoad(DO, vec2u(column + 3u, row0), 0); let g0_4 = textureLoad(DO, vec2u(column + 4u, row0), 0);
  let g1_0 = textureLoad(DO, vec2u(column + 0u, row1), 0); let g1_1 = textureLoad(DO, vec2u(column + 1u, row1), 0); let g1_2 = textureLoad(DO, vec2u(column + 2u, row1), 0); let g1_3 = textureLoad(DO, vec2u(column + 3u, row1), 0); let g1_4 = textureLoad(DO, vec2u(column + 4u, row1), 0);
  var d0_0 = vec4f(); var d0_1 = vec4f(); var d0_2 = vec4f(); var d0_3 = vec4f(); var d0_4 = vec4f();
  var d1_0 = vec4f(); var d1_1 = vec4f(); var d1_2 = vec4f(); var d1_3 = vec4f(); var d1_4 = vec4f();
  for (var block = begin; block < end; block += 8u) {
    let other = min(block + lane, end - 1u);
    var s0_0 = -lse0; var s0_1 = -lse0; var s0_2 = -lse0; var s0_3 = -lse0; var s0_4 = -lse0; var s0_5 = -lse0; var s0_6 = -lse0; var s0_7 = -lse0;
    var s1_0 = -lse1; var s1_1 = -lse1; var s1_2 = -lse1; var s1_3 = -lse1; var s1_4 = -lse1; var s1_5 = -lse1; var s1_6 = -lse1; var s1_7 = -lse1;
    { let v = textureLoad(QKV, vec2u(p.hidden4 + column + 0u, other), 0);
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
// … 1825 lines are left out here, with the SHA-256 c82e9c02516899cf …
    d0_4.w = fma(s0_5, b, d0_4.w);
    d1_4.w = fma(s1_5, b, d1_4.w);
    }
    { let b = subgroupShuffle(v.x, lane0 + 6u);
    d0_4.x = fma(s0_6, b, d0_4.x);
    d1_4.x = fma(s1_6, b, d1_4.x);
    }
    { let b = subgroupShuffle(v.y, lane0 + 6u);
    d0_4.y = fma(s0_6, b, d0_4.y);
    d1_4.y = fma(s1_6, b, d1_4.y);
    }
    { let b = subgroupShuffle(v.z, lane0 + 6u);
    d0_4.z = fma(s0_6, b, d0_4.z);
    d1_4.z = fma(s1_6, b, d1_4.z);
    }
    { let b = subgroupShuffle(v.w, lane0 + 6u);
    d0_4.w = fma(s0_6, b, d0_4.w);
    d1_4.w = fma(s1_6, b, d1_4.w);
    }
    { let b = subgroupShuffle(v.x, lane0 + 7u);
    d0_4.x = fma(s0_7, b, d0_4.x);
    d1_4.x = fma(s1_7, b, d1_4.x);
    }
    { let b = subgroupShuffle(v.y, lane0 + 7u);
    d0_4.y = fma(s0_7, b, d0_4.y);
    d1_4.y = fma(s1_7, b, d1_4.y);
    }
    { let b = subgroupShuffle(v.z, lane0 + 7u);
    d0_4.z = fma(s0_7, b, d0_4.z);
    d1_4.z = fma(s1_7, b, d1_4.z);
    }
    { let b = subgroupShuffle(v.w, lane0 + 7u);
    d0_4.w = fma(s0_7, b, d0_4.w);
    d1_4.w = fma(s1_7, b, d1_4.w);
    }
    }
  }
  if (first + 0u + lane < end) { outD[row0 * p.stride + column + 0u] = packHalves(d0_0); outD[row0 * p.stride + column + 1u] = packHalves(d0_1); outD[row0 * p.stride + column + 2u] = packHalves(d0_2); outD[row0 * p.stride + column + 3u] = packHalves(d0_3); outD[row0 * p.stride + column + 4u] = packHalves(d0_4); }
  if (first + 8u + lane < end) { outD[row1 * p.stride + column + 0u] = packHalves(d1_0); outD[row1 * p.stride + column + 1u] = packHalves(d1_1); outD[row1 * p.stride + column + 2u] = packHalves(d1_2); outD[row1 * p.stride + column + 3u] = packHalves(d1_3); outD[row1 * p.stride + column + 4u] = packHalves(d1_4); }
}
