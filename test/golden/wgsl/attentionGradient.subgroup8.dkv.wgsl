// lavapipe: 8 lanes hand rows round by themselves, and loads from textures cost a fraction of those from buffers
// a CPU: dropout=false dtype=f32 headDim=32
enable subgroups;
requires immediate_address_space;
struct Params { stride: u32, hidden4: u32, heads: u32, base: u32, firstTile: u32, firstHead: u32, scale: f32, threshold: u32, keepScale: f32, seed: u32, stream: u32, firstRow: u32, block: u32, minusInfinity: f32 }
var<immediate> p: Params;
@group(0) @binding(0) var QKV: texture_2d<f32>;
@group(0) @binding(1) var<storage, read> tiles: array<vec4u>;
@group(0) @binding(2) var DO: texture_2d<f32>;
@group(0) @binding(3) var<storage, read> L: array<f32>;
@group(0) @binding(4) var<storage, read> delta: array<f32>;
@group(0) @binding(5) var<storage, read_write> outD: array<vec4f>;



@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let tile = tiles[p.firstTile + group.x];
  let begin = tile.x - p.base; let end = tile.y - p.base; let first = tile.z - p.base;
  let head = group.y;
  let column = head * 8u;
  let lane0 = lane & 0xfffffff8u;
  let row0 = min(first + 0u + lane, end - 1u);
  let row1 = min(first + 8u + lane, end - 1u);
  let k0_0 = textureLoad(QKV, vec2u(p.hidden4 + column + 0u, row0), 0) * (p.scale * 1.4426950408889634); let k0_1 = textureLoad(QKV, vec2u(p.hidden4 + column + 1u, row0), 0) * (p.scale * 1.4426950408889634); let k0_2 = textureLoad(QKV, vec2u(p.hidden4 + column + 2u, row0), 0) * (p.scale * 1.4426950408889634); let k0_3 = textureLoad(QKV, vec2u(p.hidden4 + column + 3u, row0), 0) * (p.scale * 1.4426950408889634); let k0_4 = textureLoad(QKV, vec2u(p.hidden4 + column + 4u, row0), 0) * (p.scale * 1.4426950408889634); let k0_5 = textureLoad(QKV, vec2u(p.hidden4 + column + 5u, row0), 0) * (p.scale * 1.4426950408889634); let k0_6 = textureLoad(QKV, vec2u(p.hidden4 + column + 6u, row0), 0) * (p.scale * 1.4426950408889634); let k0_7 = textureLoad(QKV, vec2u(p.hidden4 + column + 7u, row0), 0) * (p.scale * 1.4426950408889634);
  let k1_0 = textureLoad(QKV, vec2u(p.hidden4 + column + 0u, row1), 0) * (p.scale * 1.4426950408889634); let k1_1 = textureLoad(QKV, vec2u(p.hidden4 + column + 1u, row1), 0) * (p.scale * 1.4426950408889634); let k1_2 = textureLoad(QKV, vec2u(p.hidden4 + column + 2u, row1), 0) * (p.scale * 1.4426950408889634); let k1_3 = textureLoad(QKV, vec2u(p.hidden4 + column + 3u, row1), 0) * (p.scale * 1.4426950408889634); let k1_4 = textureLoad(QKV, vec2u(p.hidden4 + column + 4u, row1), 0) * (p.scale * 1.4426950408889634); let k1_5 = textureLoad(QKV, vec2u(p.hidden4 + column + 5u, row1), 0) * (p.scale * 1.4426950408889634); let k1_6 = textureLoad(QKV, vec2u(p.hidden4 + column + 6u, row1), 0) * (p.scale * 1.4426950408889634); let k1_7 = textureLoad(QKV, vec2u(p.hidden4 + column + 7u, row1), 0) * (p.scale * 1.4426950408889634);
  let v0_0 = textureLoad(QKV, vec2u(2u * p.hidden4 + column + 0u, row0), 0); let v0_1 = textureLoad(QKV, vec2u(2u * p.hidden4 + column + 1u, row0), 0); let v0_2 = textureLoad(QKV, vec2u(2u * p.hidden4 + column + 2u, row0), 0); let v0_3 = textureLoad(QKV, vec2u(2u * p.hidden4 + column + 3u, row0), 0); let v0_4 = textureLoad(QKV, vec2u(2u * p.hidden4 + column + 4u, row0), 0); let v0_5 = textureLoad(QKV, vec2u(2u * p.hidden4 + column + 5u, row0), 0); let v0_6 = textureLoad(QKV, vec2u(2u * p.hidden4 + column + 6u, row0), 0); let v0_7 = textureLoad(QKV, vec2u(2u * p.hidden4 + column + 7u, row0), 0);
  let v1_0 = textureLoad(QKV, vec2u(2u * p.hidden4 + column + 0u, row1), 0); let v1_1 = textureLoad(QKV, vec2u(2u * p.hidden4 + column + 1u, row1), 0); let v1_2 = textureLoad(QKV, vec2u(2u * p.hidden4 + column + 2u, row1), 0); let v1_3 = textureLoad(QKV, vec2u(2u * p.hidden4 + column + 3u, row1), 0); let v1_4 = textureLoad(QKV, vec2u(2u * p.hidden4 + column + 4u, row1), 0); let v1_5 = textureLoad(QKV, vec2u(2u * p.hidden4 + column + 5u, row1), 0); let v1_6 = textureLoad(QKV, vec2u(2u * p.hidden4 + column + 6u, row1), 0); let v1_7 = textureLoad(QKV, vec2u(2u * p.hidden4 + column + 7u, row1), 0);
  var dk0_0 = vec4f(); var dk0_1 = vec4f(); var dk0_2 = vec4f(); var dk0_3 = vec4f(); var dk0_4 = vec4f(); var dk0_5 = vec4f(); var dk0_6 = vec4f(); var dk0_7 = vec4f();
  var dk1_0 = vec4f(); var dk1_1 = vec4f(); var dk1_2 = vec4f(); var dk1_3 = vec4f(); var dk1_4 = vec4f(); var dk1_5 = vec4f(); var dk1_6 = vec4f(); var dk1_7 = vec4f();
  var dv0_0 = vec4f(); var dv0_1 = vec4f(); var dv0_2 = vec4f(); var dv0_3 = vec4f(); var dv0_4 = vec4f(); var dv0_5 = vec4f(); var dv0_6 = vec4f(); var dv0_7 = vec4f();
  var dv1_0 = vec4f(); var dv1_1 = vec4f(); var dv1_2 = vec4f(); var dv1_3 = vec4f(); var dv1_4 = vec4f(); var dv1_5 = vec4f(); var dv1_6 = vec4f(); var dv1_7 = vec4f();
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
    { let b = subgroupShuffle(v.x, lane0 + 6u);
    s0_6 = fma(k0_0.x, b, s0_6);
    s1_6 = fma(k1_0.x, b, s1_6);
    }
    { let b = subgroupShuffle(v.y, lane0 + 6u);
    s0_6 = fma(k0_0.y, b, s0_6);
    s1_6 = fma(k1_0.y, b, s1_6);
    }
    { let b = subgroupShuffle(v.z, lane0 + 6u);
    s0_6 = fma(k0_0.z, b, s0_6);
    s1_6 = fma(k1_0.z, b, s1_6);
    }
    { let b = subgroupShuffle(v.w, lane0 + 6u);
    s0_6 = fma(k0_0.w, b, s0_6);
    s1_6 = fma(k1_0.w, b, s1_6);
    }
    { let b = subgroupShuffle(v.x, lane0 + 7u);
    s0_7 = fma(k0_0.x, b, s0_7);
// … 4024 lines are left out here, with the SHA-256 bdb590213ec5acb5 …
    dk0_7.w = fma(pr0_5, b, dk0_7.w);
    dk1_7.w = fma(pr1_5, b, dk1_7.w);
    }
    { let b = subgroupShuffle(v.x, lane0 + 6u);
    dk0_7.x = fma(pr0_6, b, dk0_7.x);
    dk1_7.x = fma(pr1_6, b, dk1_7.x);
    }
    { let b = subgroupShuffle(v.y, lane0 + 6u);
    dk0_7.y = fma(pr0_6, b, dk0_7.y);
    dk1_7.y = fma(pr1_6, b, dk1_7.y);
    }
    { let b = subgroupShuffle(v.z, lane0 + 6u);
    dk0_7.z = fma(pr0_6, b, dk0_7.z);
    dk1_7.z = fma(pr1_6, b, dk1_7.z);
    }
    { let b = subgroupShuffle(v.w, lane0 + 6u);
    dk0_7.w = fma(pr0_6, b, dk0_7.w);
    dk1_7.w = fma(pr1_6, b, dk1_7.w);
    }
    { let b = subgroupShuffle(v.x, lane0 + 7u);
    dk0_7.x = fma(pr0_7, b, dk0_7.x);
    dk1_7.x = fma(pr1_7, b, dk1_7.x);
    }
    { let b = subgroupShuffle(v.y, lane0 + 7u);
    dk0_7.y = fma(pr0_7, b, dk0_7.y);
    dk1_7.y = fma(pr1_7, b, dk1_7.y);
    }
    { let b = subgroupShuffle(v.z, lane0 + 7u);
    dk0_7.z = fma(pr0_7, b, dk0_7.z);
    dk1_7.z = fma(pr1_7, b, dk1_7.z);
    }
    { let b = subgroupShuffle(v.w, lane0 + 7u);
    dk0_7.w = fma(pr0_7, b, dk0_7.w);
    dk1_7.w = fma(pr1_7, b, dk1_7.w);
    }
    }
  }
  if (first + 0u + lane < end) { outD[row0 * p.stride + p.hidden4 + column + 0u] = dk0_0; outD[row0 * p.stride + 2u * p.hidden4 + column + 0u] = dv0_0; outD[row0 * p.stride + p.hidden4 + column + 1u] = dk0_1; outD[row0 * p.stride + 2u * p.hidden4 + column + 1u] = dv0_1; outD[row0 * p.stride + p.hidden4 + column + 2u] = dk0_2; outD[row0 * p.stride + 2u * p.hidden4 + column + 2u] = dv0_2; outD[row0 * p.stride + p.hidden4 + column + 3u] = dk0_3; outD[row0 * p.stride + 2u * p.hidden4 + column + 3u] = dv0_3; outD[row0 * p.stride + p.hidden4 + column + 4u] = dk0_4; outD[row0 * p.stride + 2u * p.hidden4 + column + 4u] = dv0_4; outD[row0 * p.stride + p.hidden4 + column + 5u] = dk0_5; outD[row0 * p.stride + 2u * p.hidden4 + column + 5u] = dv0_5; outD[row0 * p.stride + p.hidden4 + column + 6u] = dk0_6; outD[row0 * p.stride + 2u * p.hidden4 + column + 6u] = dv0_6; outD[row0 * p.stride + p.hidden4 + column + 7u] = dk0_7; outD[row0 * p.stride + 2u * p.hidden4 + column + 7u] = dv0_7; }
  if (first + 8u + lane < end) { outD[row1 * p.stride + p.hidden4 + column + 0u] = dk1_0; outD[row1 * p.stride + 2u * p.hidden4 + column + 0u] = dv1_0; outD[row1 * p.stride + p.hidden4 + column + 1u] = dk1_1; outD[row1 * p.stride + 2u * p.hidden4 + column + 1u] = dv1_1; outD[row1 * p.stride + p.hidden4 + column + 2u] = dk1_2; outD[row1 * p.stride + 2u * p.hidden4 + column + 2u] = dv1_2; outD[row1 * p.stride + p.hidden4 + column + 3u] = dk1_3; outD[row1 * p.stride + 2u * p.hidden4 + column + 3u] = dv1_3; outD[row1 * p.stride + p.hidden4 + column + 4u] = dk1_4; outD[row1 * p.stride + 2u * p.hidden4 + column + 4u] = dv1_4; outD[row1 * p.stride + p.hidden4 + column + 5u] = dk1_5; outD[row1 * p.stride + 2u * p.hidden4 + column + 5u] = dv1_5; outD[row1 * p.stride + p.hidden4 + column + 6u] = dk1_6; outD[row1 * p.stride + 2u * p.hidden4 + column + 6u] = dv1_6; outD[row1 * p.stride + p.hidden4 + column + 7u] = dk1_7; outD[row1 * p.stride + 2u * p.hidden4 + column + 7u] = dv1_7; }
}
