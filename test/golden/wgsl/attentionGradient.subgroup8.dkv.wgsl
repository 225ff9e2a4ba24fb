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
  let row0 = min(first + 0u + lane, end - 1u);
  let row1 = min(first + 8u + lane, end - 1u);
  let k0_0 = textureLoad(QKV, vec2u(p.hidden4 + column + 0u, row0), 0) * (p.scale * 1.4426950408889634); let k0_1 = textureLoad(QKV, vec2u(p.hidden4 + column + 1u, row0), 0) * (p.scale * 1.4426950408889634); let k0_2 = textureLoad(QKV, vec2u(p.hidden4 + column + 2u, row0), 0) * (p.scale * 1.4426950408889634); let k0_3 = textureLoad(QKV, vec2u(p.hidden4 + column + 3u, row0), 0) * (p.scale * 1.4426950408889634); let k0_4 = textureLoad(QKV, vec2u(p.hidden4 + column + 4u, row0), 0) * (p.scale * 1.4426950408889634);
  let k1_0 = textureLoad(QKV, vec2u(p.hidden4 + column + 0u, row1), 0) * (p.scale * 1.4426950408889634); let k1_1 = textureLoad(QKV, vec2u(p.hidden4 + column + 1u, row1), 0) * (p.scale * 1.4426950408889634); let k1_2 = textureLoad(QKV, vec2u(p.hidden4 + column + 2u, row1), 0) * (p.scale * 1.4426950408889634); let k1_3 = textureLoad(QKV, vec2u(p.hidden4 + column + 3u, row1), 0) * (p.scale * 1.4426950408889634); let k1_4 = textureLoad(QKV, vec2u(p.hidden4 + column + 4u, row1), 0) * (p.scale * 1.4426950408889634);
  let v0_0 = textureLoad(QKV, vec2u(2u * p.hidden4 + column + 0u, row0), 0); let v0_1 = textureLoad(QKV, vec2u(2u * p.hidden4 + column + 1u, row0), 0); let v0_2 = textureLoad(QKV, vec2u(2u * p.hidden4 + column + 2u, row0), 0); let v0_3 = textureLoad(QKV, vec2u(2u * p.hidden4 + column + 3u, row0), 0); let v0_4 = textureLoad(QKV, vec2u(2u * p.hidden4 + column + 4u, row0), 0);
  let v1_0 = textureLoad(QKV, vec2u(2u * p.hidden4 + column + 0u, row1), 0); let v1_1 = textureLoad(QKV, vec2u(2u * p.hidden4 + column + 1u, row1), 0); let v1_2 = textureLoad(QKV, vec2u(2u * p.hidden4 + column + 2u, row1), 0); let v1_3 = textureLoad(QKV, vec2u(2u * p.hidden4 + column + 3u, row1), 0); let v1_4 = textureLoad(QKV, vec2u(2u * p.hidden4 + column + 4u, row1), 0);
  var dk0_0 = vec4f(); var dk0_1 = vec4f(); var dk0_2 = vec4f(); var dk0_3 = vec4f(); var dk0_4 = vec4f();
  var dk1_0 = vec4f(); var dk1_1 = vec4f(); var dk1_2 = vec4f(); var dk1_3 = vec4f(); var dk1_4 = vec4f();
  var dv0_0 = vec4f(); var dv0_1 = vec4f(); var dv0_2 = vec4f(); var dv0_3 = vec4f(); var dv0_4 = vec4f();
  var dv1_0 = vec4f(); var dv1_1 = vec4f(); var dv1_2 = vec4f(); var dv1_3 = vec4f(); var dv1_4 = vec4f();
  for (var block = begin; block < end; block += 8u) {
    let other = min(block + lane, end - 1u);
    let lse = L[other * p.heads + head]; let rowDelta = delta[other * p.heads + head];
    var s0_0 = 0.0; var s0_1 = 0.0; var s0_2 = 0.0; var s0_3 = 0.0; var s0_4 = 0.0; var s0_5 = 0.0; var s0_6 = 0.0; var s0_7 = 0.0;
    var s1_0 = 0.0; var s1_1 = 0.0; var s1_2 = 0.0; var s1_3 = 0.0; var s1_4 = 0.0; var s1_5 = 0.0; var s1_6 = 0.0; var s1_7 = 0.0;
    { let v = textureLoad(QKV, vec2u(column + 0u, other), 0);
    { let b = subgroupShuffle(v.x, lane0 + 0u);
    s0_0 = fma(k0_0.x, b, s0_0);
    s1_0 = fma(k1_0.x, b, s1_0);
    }
    { let b = subgroupShuffle(v.y, lane0 + 0u);
    s0_0 = fma(k0_0.y, b, s0_0);
    s1_0 = fma(k1_0.y, b, s1_0);
    }
    { let b = subgroupShuffle(v.z, lane0 + 0u);
    s0_0 = fma(k0_0.z, b, s0_0);
    s1_0 = fma(k1_0.z, b, s1_0);
    }
    { let b = subgroupShuffle(v.w, lane0 + 0u);
    s0_0 = fma(k0_0.w, b, s0_0);
    s1_0 = fma(k1_0.w, b, s1_0);
    }
    { let b = subgroupShuffle(v.x, lane0 + 1u);
    s0_1 = fma(k0_0.x, b, s0_1);
    s1_1 = fma(k1_0.x, b, s1_1);
    }
    { let b = subgroupShuffle(v.y, lane0 + 1u);
    s0_1 = fma(k0_0.y, b, s0_1);
    s1_1 = fma(k1_0.y, b, s1_1);
    }
    { let b = subgroupShuffle(v.z, lane0 + 1u);
    s0_1 = fma(k0_0.z, b, s0_1);
    s1_1 = fma(k1_0.z, b, s1_1);
    }
    { let b = subgroupShuffle(v.w, lane0 + 1u);
    s0_1 = fma(k0_0.w, b, s0_1);
    s1_1 = fma(k1_0.w, b, s1_1);
    }
    { let b = subgroupShuffle(v.x, lane0 + 2u);
    s0_2 = fma(k0_0.x, b, s0_2);
    s1_2 = fma(k1_0.x, b, s1_2);
    }
    { let b = subgroupShuffle(v.y, lane0 + 2u);
    s0_2 = fma(k0_0.y, b, s0_2);
    s1_2 = fma(k1_0.y, b, s1_2);
    }
    { let b = subgroupShuffle(v.z, lane0 + 2u);
    s0_2 = fma(k0_0.z, b, s0_2);
    s1_2 = fma(k1_0.z, b, s1_2);
    }
    { let b = subgroupShuffle(v.w, lane0 + 2u);
    s0_2 = fma(k0_0.w, b, s0_2);
    s1_2 = fma(k1_0.w, b, s1_2);
    }
    { let b = subgroupShuffle(v.x, lane0 + 3u);
    s0_3 = fma(k0_0.x, b, s0_3);
    s1_3 = fma(k1_0.x, b, s1_3);
    }
    { let b = subgroupShuffle(v.y, lane0 + 3u);
    s0_3 = fma(k0_0.y, b, s0_3);
    s1_3 = fma(k1_0.y, b, s1_3);
    }
    { let b = subgroupShuffle(v.z, lane0 + 3u);
    s0_3 = fma(k0_0.z, b, s0_3);
    s1_3 = fma(k1_0.z, b, s1_3);
    }
    { let b = subgroupShuffle(v.w, lane0 + 3u);
    s0_3 = fma(k0_0.w, b, s0_3);
    s1_3 = fma(k1_0.w, b, s1_3);
    }
    { let b = subgroupShuffle(v.x, lane0 + 4u);
    s0_4 = fma(k0_0.x, b, s0_4);
    s1_4 = fma(k1_0.x, b, s1_4);
    }
    { let b = subgroupShuffle(v.y, lane0 + 4u);
    s0_4 = fma(k0_0.y, b, s0_4);
    s1_4 = fma(k1_0.y, b, s1_4);
    }
    { let b = subgroupShuffle(v.z, lane0 + 4u);
    s0_4 = fma(k0_0.z, b, s0_4);
    s1_4 = fma(k1_0.z, b, s1_4);
    }
    { let b = subgroupShuffle(v.w, lane0 + 4u);
    s0_4 = fma(k0_0.w, b, s0_4);
    s1_4 = fma(k1_0.w, b, s1_4);
    }
    { let b = subgroupShuffle(v.x, lane0 + 5u);
    s0_5 = fma(k0_0.x, b, s0_5);
    s1_5 = fma(k1_0.x, b, s1_5);
    }
    { let b = subgroupShuffle(v.y, lane0 + 5u);
    s0_5 = fma(k0_0.y, b, s0_5);
    s1_5 = fma(k1_0.y, b, s1_5);
    }
    { let b = subgroupShuffle(v.z, lane0 + 5u);
    s0_5 = fma(k0_0.z, b, s0_5);
    s1_5 = fma(k1_0.z, b, s1_5);
    }
    { let b = subgroupShuffle(v.w, lane0 + 5u);
    s0_5 = fma(k0_0.w, b, s0_5);
    s1_5 = fma(k1_0.w, b, s1_5);
    }
// … 2482 lines are left out here, with the SHA-256 7f3f73ff594d06c4 …
    dk0_4.w = fma(pr0_5, b, dk0_4.w);
    dk1_4.w = fma(pr1_5, b, dk1_4.w);
    }
    { let b = subgroupShuffle(v.x, lane0 + 6u);
    dk0_4.x = fma(pr0_6, b, dk0_4.x);
    dk1_4.x = fma(pr1_6, b, dk1_4.x);
    }
    { let b = subgroupShuffle(v.y, lane0 + 6u);
    dk0_4.y = fma(pr0_6, b, dk0_4.y);
    dk1_4.y = fma(pr1_6, b, dk1_4.y);
    }
    { let b = subgroupShuffle(v.z, lane0 + 6u);
    dk0_4.z = fma(pr0_6, b, dk0_4.z);
    dk1_4.z = fma(pr1_6, b, dk1_4.z);
    }
    { let b = subgroupShuffle(v.w, lane0 + 6u);
    dk0_4.w = fma(pr0_6, b, dk0_4.w);
    dk1_4.w = fma(pr1_6, b, dk1_4.w);
    }
    { let b = subgroupShuffle(v.x, lane0 + 7u);
    dk0_4.x = fma(pr0_7, b, dk0_4.x);
    dk1_4.x = fma(pr1_7, b, dk1_4.x);
    }
    { let b = subgroupShuffle(v.y, lane0 + 7u);
    dk0_4.y = fma(pr0_7, b, dk0_4.y);
    dk1_4.y = fma(pr1_7, b, dk1_4.y);
    }
    { let b = subgroupShuffle(v.z, lane0 + 7u);
    dk0_4.z = fma(pr0_7, b, dk0_4.z);
    dk1_4.z = fma(pr1_7, b, dk1_4.z);
    }
    { let b = subgroupShuffle(v.w, lane0 + 7u);
    dk0_4.w = fma(pr0_7, b, dk0_4.w);
    dk1_4.w = fma(pr1_7, b, dk1_4.w);
    }
    }
  }
  if (first + 0u + lane < end) { outD[row0 * p.stride + p.hidden4 + column + 0u] = packHalves(dk0_0); outD[row0 * p.stride + 2u * p.hidden4 + column + 0u] = packHalves(dv0_0); outD[row0 * p.stride + p.hidden4 + column + 1u] = packHalves(dk0_1); outD[row0 * p.stride + 2u * p.hidden4 + column + 1u] = packHalves(dv0_1); outD[row0 * p.stride + p.hidden4 + column + 2u] = packHalves(dk0_2); outD[row0 * p.stride + 2u * p.hidden4 + column + 2u] = packHalves(dv0_2); outD[row0 * p.stride + p.hidden4 + column + 3u] = packHalves(dk0_3); outD[row0 * p.stride + 2u * p.hidden4 + column + 3u] = packHalves(dv0_3); outD[row0 * p.stride + p.hidden4 + column + 4u] = packHalves(dk0_4); outD[row0 * p.stride + 2u * p.hidden4 + column + 4u] = packHalves(dv0_4); }
  if (first + 8u + lane < end) { outD[row1 * p.stride + p.hidden4 + column + 0u] = packHalves(dk1_0); outD[row1 * p.stride + 2u * p.hidden4 + column + 0u] = packHalves(dv1_0); outD[row1 * p.stride + p.hidden4 + column + 1u] = packHalves(dk1_1); outD[row1 * p.stride + 2u * p.hidden4 + column + 1u] = packHalves(dv1_1); outD[row1 * p.stride + p.hidden4 + column + 2u] = packHalves(dk1_2); outD[row1 * p.stride + 2u * p.hidden4 + column + 2u] = packHalves(dv1_2); outD[row1 * p.stride + p.hidden4 + column + 3u] = packHalves(dk1_3); outD[row1 * p.stride + 2u * p.hidden4 + column + 3u] = packHalves(dv1_3); outD[row1 * p.stride + p.hidden4 + column + 4u] = packHalves(dk1_4); outD[row1 * p.stride + 2u * p.hidden4 + column + 4u] = packHalves(dv1_4); }
}
