// the same from storage textures, whose loads compute no level of detail
// a CPU: dropout=false dtype=f32 headDim=32
enable subgroups;
requires immediate_address_space;
struct Params { stride: u32, hidden4: u32, heads: u32, base: u32, firstTile: u32, firstHead: u32, scale: f32, threshold: u32, keepScale: f32, seed: u32, stream: u32, firstRow: u32, block: u32, minusInfinity: f32 }
var<immediate> p: Params;
@group(0) @binding(0) var QKV: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var<storage, read> tiles: array<vec4u>;
@group(0) @binding(2) var<storage, read_write> outO: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> outL: array<f32>;



@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let tile = tiles[p.firstTile + group.x];
  let begin = tile.x - p.base; let end = tile.y - p.base; let first = tile.z - p.base;
  let head = group.y;
  let column = head * 8u;
  let lane0 = lane & 0xfffffff8u;
  let row0 = min(first + 0u + lane, end - 1u); var m0 = -0x1.fffffep+127; var l0 = 0.0;
  let row1 = min(first + 8u + lane, end - 1u); var m1 = -0x1.fffffep+127; var l1 = 0.0;
  let q0_0 = textureLoad(QKV, vec2u(column + 0u, row0)) * (p.scale * 1.4426950408889634); let q0_1 = textureLoad(QKV, vec2u(column + 1u, row0)) * (p.scale * 1.4426950408889634); let q0_2 = textureLoad(QKV, vec2u(column + 2u, row0)) * (p.scale * 1.4426950408889634); let q0_3 = textureLoad(QKV, vec2u(column + 3u, row0)) * (p.scale * 1.4426950408889634); let q0_4 = textureLoad(QKV, vec2u(column + 4u, row0)) * (p.scale * 1.4426950408889634); let q0_5 = textureLoad(QKV, vec2u(column + 5u, row0)) * (p.scale * 1.4426950408889634); let q0_6 = textureLoad(QKV, vec2u(column + 6u, row0)) * (p.scale * 1.4426950408889634); let q0_7 = textureLoad(QKV, vec2u(column + 7u, row0)) * (p.scale * 1.4426950408889634);
  let q1_0 = textureLoad(QKV, vec2u(column + 0u, row1)) * (p.scale * 1.4426950408889634); let q1_1 = textureLoad(QKV, vec2u(column + 1u, row1)) * (p.scale * 1.4426950408889634); let q1_2 = textureLoad(QKV, vec2u(column + 2u, row1)) * (p.scale * 1.4426950408889634); let q1_3 = textureLoad(QKV, vec2u(column + 3u, row1)) * (p.scale * 1.4426950408889634); let q1_4 = textureLoad(QKV, vec2u(column + 4u, row1)) * (p.scale * 1.4426950408889634); let q1_5 = textureLoad(QKV, vec2u(column + 5u, row1)) * (p.scale * 1.4426950408889634); let q1_6 = textureLoad(QKV, vec2u(column + 6u, row1)) * (p.scale * 1.4426950408889634); let q1_7 = textureLoad(QKV, vec2u(column + 7u, row1)) * (p.scale * 1.4426950408889634);
  var o0_0 = vec4f(); var o0_1 = vec4f(); var o0_2 = vec4f(); var o0_3 = vec4f(); var o0_4 = vec4f(); var o0_5 = vec4f(); var o0_6 = vec4f(); var o0_7 = vec4f();
  var o1_0 = vec4f(); var o1_1 = vec4f(); var o1_2 = vec4f(); var o1_3 = vec4f(); var o1_4 = vec4f(); var o1_5 = vec4f(); var o1_6 = vec4f(); var o1_7 = vec4f();
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
    }
    { let b = subgroupShuffle(v.z, lane0 + 6u);
    s0_6 = fma(q0_0.z, b, s0_6);
    s1_6 = fma(q1_0.z, b, s1_6);
    }
    { let b = subgroupShuffle(v.w, lane0 + 6u);
    s0_6 = fma(q0_0.w, b, s0_6);
    s1_6 = fma(q1_0.w, b, s1_6);
    }
    { let b = subgroupShuffle(v.x, lane0 + 7u);
    s0_7 = fma(q0_0.x, b, s0_7);
    s1_7 = fma(q1_0.x, b, s1_7);
    }
    { let b = subgroupShuffle(v.y, lane0 + 7u);
    s0_7 = fma(q0_0.y, b, s0_7);
    s1_7 = fma(q1_0.y, b, s1_7);
    }
    { let b = subgroupShuffle(v.z, lane0 + 7u);
// … 1971 lines are left out here, with the SHA-256 08a8979e6684a12b …
    }
    { let b = subgroupShuffle(v.y, lane0 + 6u);
    o0_7.y = fma(s0_6, b, o0_7.y);
    o1_7.y = fma(s1_6, b, o1_7.y);
    }
    { let b = subgroupShuffle(v.z, lane0 + 6u);
    o0_7.z = fma(s0_6, b, o0_7.z);
    o1_7.z = fma(s1_6, b, o1_7.z);
    }
    { let b = subgroupShuffle(v.w, lane0 + 6u);
    o0_7.w = fma(s0_6, b, o0_7.w);
    o1_7.w = fma(s1_6, b, o1_7.w);
    }
    { let b = subgroupShuffle(v.x, lane0 + 7u);
    o0_7.x = fma(s0_7, b, o0_7.x);
    o1_7.x = fma(s1_7, b, o1_7.x);
    }
    { let b = subgroupShuffle(v.y, lane0 + 7u);
    o0_7.y = fma(s0_7, b, o0_7.y);
    o1_7.y = fma(s1_7, b, o1_7.y);
    }
    { let b = subgroupShuffle(v.z, lane0 + 7u);
    o0_7.z = fma(s0_7, b, o0_7.z);
    o1_7.z = fma(s1_7, b, o1_7.z);
    }
    { let b = subgroupShuffle(v.w, lane0 + 7u);
    o0_7.w = fma(s0_7, b, o0_7.w);
    o1_7.w = fma(s1_7, b, o1_7.w);
    }
    }
  }
  if (first + 0u + lane < end) {
    outO[row0 * p.hidden4 + column + 0u] = o0_0 / select(l0, 1.0, l0 == 0.0); outO[row0 * p.hidden4 + column + 1u] = o0_1 / select(l0, 1.0, l0 == 0.0); outO[row0 * p.hidden4 + column + 2u] = o0_2 / select(l0, 1.0, l0 == 0.0); outO[row0 * p.hidden4 + column + 3u] = o0_3 / select(l0, 1.0, l0 == 0.0); outO[row0 * p.hidden4 + column + 4u] = o0_4 / select(l0, 1.0, l0 == 0.0); outO[row0 * p.hidden4 + column + 5u] = o0_5 / select(l0, 1.0, l0 == 0.0); outO[row0 * p.hidden4 + column + 6u] = o0_6 / select(l0, 1.0, l0 == 0.0); outO[row0 * p.hidden4 + column + 7u] = o0_7 / select(l0, 1.0, l0 == 0.0);
    outL[row0 * p.heads + head] = select(m0 + log2(l0), -p.minusInfinity, l0 == 0.0);
  }
  if (first + 8u + lane < end) {
    outO[row1 * p.hidden4 + column + 0u] = o1_0 / select(l1, 1.0, l1 == 0.0); outO[row1 * p.hidden4 + column + 1u] = o1_1 / select(l1, 1.0, l1 == 0.0); outO[row1 * p.hidden4 + column + 2u] = o1_2 / select(l1, 1.0, l1 == 0.0); outO[row1 * p.hidden4 + column + 3u] = o1_3 / select(l1, 1.0, l1 == 0.0); outO[row1 * p.hidden4 + column + 4u] = o1_4 / select(l1, 1.0, l1 == 0.0); outO[row1 * p.hidden4 + column + 5u] = o1_5 / select(l1, 1.0, l1 == 0.0); outO[row1 * p.hidden4 + column + 6u] = o1_6 / select(l1, 1.0, l1 == 0.0); outO[row1 * p.hidden4 + column + 7u] = o1_7 / select(l1, 1.0, l1 == 0.0);
    outL[row1 * p.heads + head] = select(m1 + log2(l1), -p.minusInfinity, l1 == 0.0);
  }
}
