// lavapipe: 8 lanes hand passage tokens round by themselves, without workgroup memory
// a CPU: unit=4
enable subgroups;
requires immediate_address_space;
struct Params { cols4: u32, columns: u32, firstRow: u32, firstTile: u32, tiles: u32, firstSlot: u32, slots: u32, baseQ: u32, baseV: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> Q: array<vec4f>;
@group(0) @binding(1) var<storage, read> V: array<vec4f>;
@group(0) @binding(2) var<storage, read> tokens: array<vec2u>;
@group(0) @binding(3) var<storage, read> passages: array<vec4u>;
@group(0) @binding(4) var<storage, read> tiles: array<vec4u>;
@group(0) @binding(5) var<storage, read_write> outBest: array<f32>;
@group(0) @binding(6) var<storage, read_write> outAt: array<u32>;

fn rank(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  let size = bits & 0x7fffffffu;
  return select(select(size | 0x80000000u, 0x80000000u - size, bits > 0x7fffffffu), 0xffffffffu, size > 0x7f800000u);
}
fn unrank(rank: u32) -> f32 {
  return bitcast<f32>(select((0x80000000u - rank) | 0x80000000u, rank & 0x7fffffffu, rank > 0x7fffffffu));
}

fn finish(row: u32, slot: u32, passage: u32, best: u32, at: u32) {
  var value = unrank(best);
  var position = at;
  if (passages[passage].z != 0u && best <= rank(0.0)) { value = 0.0; position = 0xffffffffu; }
  if (passages[passage].x >= passages[passage].y) { value = 0.0; position = 0xffffffffu; }
  let i = (row - p.firstRow) * p.columns + slot;
  outBest[i] = value;
  outAt[i] = position;
}
@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let index = group.y * groups.x + group.x;
  if (index >= p.tiles * p.slots) { return; }
  let tile = tiles[p.firstTile + index % p.tiles];
  let slot = p.firstSlot + index / p.tiles;
  let passage = tile.z + slot;
  let begin = passages[passage].x;
  let end = passages[passage].y;
  let last = max(end, 1u) - 1u;
  let lane0 = lane & 0xfffffff8u;
  let row0 = tile.x + 0u + lane; let own0 = tokens[min(row0, tile.y - 1u)].x * p.cols4 - p.baseQ; var best0 = 0u; var at0 = 0u;
  let row1 = tile.x + 8u + lane; let own1 = tokens[min(row1, tile.y - 1u)].x * p.cols4 - p.baseQ; var best1 = 0u; var at1 = 0u;
  let row2 = tile.x + 16u + lane; let own2 = tokens[min(row2, tile.y - 1u)].x * p.cols4 - p.baseQ; var best2 = 0u; var at2 = 0u;
  let row3 = tile.x + 24u + lane; let own3 = tokens[min(row3, tile.y - 1u)].x * p.cols4 - p.baseQ; var best3 = 0u; var at3 = 0u;
  for (var t = begin; t < end; t += 24u) {
    var c0_0 = 0.0; var c0_1 = 0.0; var c0_2 = 0.0; var c0_3 = 0.0; var c0_4 = 0.0; var c0_5 = 0.0; var c0_6 = 0.0; var c0_7 = 0.0; var c0_8 = 0.0; var c0_9 = 0.0; var c0_10 = 0.0; var c0_11 = 0.0; var c0_12 = 0.0; var c0_13 = 0.0; var c0_14 = 0.0; var c0_15 = 0.0; var c0_16 = 0.0; var c0_17 = 0.0; var c0_18 = 0.0; var c0_19 = 0.0; var c0_20 = 0.0; var c0_21 = 0.0; var c0_22 = 0.0; var c0_23 = 0.0;
    var c1_0 = 0.0; var c1_1 = 0.0; var c1_2 = 0.0; var c1_3 = 0.0; var c1_4 = 0.0; var c1_5 = 0.0; var c1_6 = 0.0; var c1_7 = 0.0; var c1_8 = 0.0; var c1_9 = 0.0; var c1_10 = 0.0; var c1_11 = 0.0; var c1_12 = 0.0; var c1_13 = 0.0; var c1_14 = 0.0; var c1_15 = 0.0; var c1_16 = 0.0; var c1_17 = 0.0; var c1_18 = 0.0; var c1_19 = 0.0; var c1_20 = 0.0; var c1_21 = 0.0; var c1_22 = 0.0; var c1_23 = 0.0;
    var c2_0 = 0.0; var c2_1 = 0.0; var c2_2 = 0.0; var c2_3 = 0.0; var c2_4 = 0.0; var c2_5 = 0.0; var c2_6 = 0.0; var c2_7 = 0.0; var c2_8 = 0.0; var c2_9 = 0.0; var c2_10 = 0.0; var c2_11 = 0.0; var c2_12 = 0.0; var c2_13 = 0.0; var c2_14 = 0.0; var c2_15 = 0.0; var c2_16 = 0.0; var c2_17 = 0.0; var c2_18 = 0.0; var c2_19 = 0.0; var c2_20 = 0.0; var c2_21 = 0.0; var c2_22 = 0.0; var c2_23 = 0.0;
    var c3_0 = 0.0; var c3_1 = 0.0; var c3_2 = 0.0; var c3_3 = 0.0; var c3_4 = 0.0; var c3_5 = 0.0; var c3_6 = 0.0; var c3_7 = 0.0; var c3_8 = 0.0; var c3_9 = 0.0; var c3_10 = 0.0; var c3_11 = 0.0; var c3_12 = 0.0; var c3_13 = 0.0; var c3_14 = 0.0; var c3_15 = 0.0; var c3_16 = 0.0; var c3_17 = 0.0; var c3_18 = 0.0; var c3_19 = 0.0; var c3_20 = 0.0; var c3_21 = 0.0; var c3_22 = 0.0; var c3_23 = 0.0;
    for (var k = 0u; k < p.cols4; k++) {
      let a0 = Q[own0 + k];
      let a1 = Q[own1 + k];
      let a2 = Q[own2 + k];
      let a3 = Q[own3 + k];
      let at = k - p.baseV;
      let b0 = V[min(t + 0u + lane, last) * p.cols4 + at];
      let b1 = V[min(t + 8u + lane, last) * p.cols4 + at];
      let b2 = V[min(t + 16u + lane, last) * p.cols4 + at];
      { let b = subgroupShuffle(b0.x, lane0 + 0u);
      c0_0 = fma(a0.x, b, c0_0);
      c1_0 = fma(a1.x, b, c1_0);
      c2_0 = fma(a2.x, b, c2_0);
      c3_0 = fma(a3.x, b, c3_0);
      }
      { let b = subgroupShuffle(b0.y, lane0 + 0u);
      c0_0 = fma(a0.y, b, c0_0);
      c1_0 = fma(a1.y, b, c1_0);
      c2_0 = fma(a2.y, b, c2_0);
      c3_0 = fma(a3.y, b, c3_0);
      }
      { let b = subgroupShuffle(b0.z, lane0 + 0u);
      c0_0 = fma(a0.z, b, c0_0);
      c1_0 = fma(a1.z, b, c1_0);
      c2_0 = fma(a2.z, b, c2_0);
      c3_0 = fma(a3.z, b, c3_0);
      }
      { let b = subgroupShuffle(b0.w, lane0 + 0u);
      c0_0 = fma(a0.w, b, c0_0);
      c1_0 = fma(a1.w, b, c1_0);
      c2_0 = fma(a2.w, b, c2_0);
      c3_0 = fma(a3.w, b, c3_0);
      }
      { let b = subgroupShuffle(b0.x, lane0 + 1u);
      c0_1 = fma(a0.x, b, c0_1);
      c1_1 = fma(a1.x, b, c1_1);
      c2_1 = fma(a2.x, b, c2_1);
      c3_1 = fma(a3.x, b, c3_1);
      }
      { let b = subgroupShuffle(b0.y, lane0 + 1u);
      c0_1 = fma(a0.y, b, c0_1);
      c1_1 = fma(a1.y, b, c1_1);
      c2_1 = fma(a2.y, b, c2_1);
      c3_1 = fma(a3.y, b, c3_1);
      }
      { let b = subgroupShuffle(b0.z, lane0 + 1u);
      c0_1 = fma(a0.z, b, c0_1);
      c1_1 = fma(a1.z, b, c1_1);
      c2_1 = fma(a2.z, b, c2_1);
      c3_1 = fma(a3.z, b, c3_1);
      }
      { let b = subgroupShuffle(b0.w, lane0 + 1u);
      c0_1 = fma(a0.w, b, c0_1);
      c1_1 = fma(a1.w, b, c1_1);
      c2_1 = fma(a2.w, b, c2_1);
      c3_1 = fma(a3.w, b, c3_1);
      }
      { let b = subgroupShuffle(b0.x, lane0 + 2u);
      c0_2 = fma(a0.x, b, c0_2);
      c1_2 = fma(a1.x, b, c1_2);
      c2_2 = fma(a2.x, b, c2_2);
      c3_2 = fma(a3.x, b, c3_2);
      }
      { let b = subgroupShuffle(b0.y, lane0 + 2u);
      c0_2 = fma(a0.y, b, c0_2);
      c1_2 = fma(a1.y, b, c1_2);
      c2_2 = fma(a2.y, b, c2_2);
      c3_2 = fma(a3.y, b, c3_2);
      }
      { let b = subgroupShuffle(b0.z, lane0 + 2u);
      c0_2 = fma(a0.z, b, c0_2);
      c1_2 = fma(a1.z, b, c1_2);
      c2_2 = fma(a2.z, b, c2_2);
      c3_2 = fma(a3.z, b, c3_2);
      }
      { let b = subgroupShuffle(b0.w, lane0 + 2u);
      c0_2 = fma(a0.w, b, c0_2);
      c1_2 = fma(a1.w, b, c1_2);
      c2_2 = fma(a2.w, b, c2_2);
      c3_2 = fma(a3.w, b, c3_2);
      }
      { let b = subgroupShuffle(b0.x, lane0 + 3u);
      c0_3 = fma(a0.x, b, c0_3);
      c1_3 = fma(a1.x, b, c1_3);
      c2_3 = fma(a2.x, b, c2_3);
      c3_3 = fma(a3.x, b, c3_3);
      }
      { let b = subgroupShuffle(b0.y, lane0 + 3u);
      c0_3 = fma(a0.y, b, c0_3);
      c1_3 = fma(a1.y, b, c1_3);
      c2_3 = fma(a2.y, b, c2_3);
      c3_3 = fma(a3.y, b, c3_3);
      }
      { let b = subgroupShuffle(b0.z, lane0 + 3u);
      c0_3 = fma(a0.z, b, c0_3);
      c1_3 = fma(a1.z, b, c1_3);
      c2_3 = fma(a2.z, b, c2_3);
      c3_3 = fma(a3.z, b, c3_3);
      }
      { let b = subgroupShuffle(b0.w, lane0 + 3u);
// … 476 lines are left out here, with the SHA-256 3abebc6b7d5f1a66 …
      c2_23 = fma(a2.z, b, c2_23);
      c3_23 = fma(a3.z, b, c3_23);
      }
      { let b = subgroupShuffle(b2.w, lane0 + 7u);
      c0_23 = fma(a0.w, b, c0_23);
      c1_23 = fma(a1.w, b, c1_23);
      c2_23 = fma(a2.w, b, c2_23);
      c3_23 = fma(a3.w, b, c3_23);
      }
    }
    if (t + 0u < end) { { let v = rank(c0_0); if (v > best0) { best0 = v; at0 = t + 0u; } } { let v = rank(c1_0); if (v > best1) { best1 = v; at1 = t + 0u; } } { let v = rank(c2_0); if (v > best2) { best2 = v; at2 = t + 0u; } } { let v = rank(c3_0); if (v > best3) { best3 = v; at3 = t + 0u; } } }
    if (t + 1u < end) { { let v = rank(c0_1); if (v > best0) { best0 = v; at0 = t + 1u; } } { let v = rank(c1_1); if (v > best1) { best1 = v; at1 = t + 1u; } } { let v = rank(c2_1); if (v > best2) { best2 = v; at2 = t + 1u; } } { let v = rank(c3_1); if (v > best3) { best3 = v; at3 = t + 1u; } } }
    if (t + 2u < end) { { let v = rank(c0_2); if (v > best0) { best0 = v; at0 = t + 2u; } } { let v = rank(c1_2); if (v > best1) { best1 = v; at1 = t + 2u; } } { let v = rank(c2_2); if (v > best2) { best2 = v; at2 = t + 2u; } } { let v = rank(c3_2); if (v > best3) { best3 = v; at3 = t + 2u; } } }
    if (t + 3u < end) { { let v = rank(c0_3); if (v > best0) { best0 = v; at0 = t + 3u; } } { let v = rank(c1_3); if (v > best1) { best1 = v; at1 = t + 3u; } } { let v = rank(c2_3); if (v > best2) { best2 = v; at2 = t + 3u; } } { let v = rank(c3_3); if (v > best3) { best3 = v; at3 = t + 3u; } } }
    if (t + 4u < end) { { let v = rank(c0_4); if (v > best0) { best0 = v; at0 = t + 4u; } } { let v = rank(c1_4); if (v > best1) { best1 = v; at1 = t + 4u; } } { let v = rank(c2_4); if (v > best2) { best2 = v; at2 = t + 4u; } } { let v = rank(c3_4); if (v > best3) { best3 = v; at3 = t + 4u; } } }
    if (t + 5u < end) { { let v = rank(c0_5); if (v > best0) { best0 = v; at0 = t + 5u; } } { let v = rank(c1_5); if (v > best1) { best1 = v; at1 = t + 5u; } } { let v = rank(c2_5); if (v > best2) { best2 = v; at2 = t + 5u; } } { let v = rank(c3_5); if (v > best3) { best3 = v; at3 = t + 5u; } } }
    if (t + 6u < end) { { let v = rank(c0_6); if (v > best0) { best0 = v; at0 = t + 6u; } } { let v = rank(c1_6); if (v > best1) { best1 = v; at1 = t + 6u; } } { let v = rank(c2_6); if (v > best2) { best2 = v; at2 = t + 6u; } } { let v = rank(c3_6); if (v > best3) { best3 = v; at3 = t + 6u; } } }
    if (t + 7u < end) { { let v = rank(c0_7); if (v > best0) { best0 = v; at0 = t + 7u; } } { let v = rank(c1_7); if (v > best1) { best1 = v; at1 = t + 7u; } } { let v = rank(c2_7); if (v > best2) { best2 = v; at2 = t + 7u; } } { let v = rank(c3_7); if (v > best3) { best3 = v; at3 = t + 7u; } } }
    if (t + 8u < end) { { let v = rank(c0_8); if (v > best0) { best0 = v; at0 = t + 8u; } } { let v = rank(c1_8); if (v > best1) { best1 = v; at1 = t + 8u; } } { let v = rank(c2_8); if (v > best2) { best2 = v; at2 = t + 8u; } } { let v = rank(c3_8); if (v > best3) { best3 = v; at3 = t + 8u; } } }
    if (t + 9u < end) { { let v = rank(c0_9); if (v > best0) { best0 = v; at0 = t + 9u; } } { let v = rank(c1_9); if (v > best1) { best1 = v; at1 = t + 9u; } } { let v = rank(c2_9); if (v > best2) { best2 = v; at2 = t + 9u; } } { let v = rank(c3_9); if (v > best3) { best3 = v; at3 = t + 9u; } } }
    if (t + 10u < end) { { let v = rank(c0_10); if (v > best0) { best0 = v; at0 = t + 10u; } } { let v = rank(c1_10); if (v > best1) { best1 = v; at1 = t + 10u; } } { let v = rank(c2_10); if (v > best2) { best2 = v; at2 = t + 10u; } } { let v = rank(c3_10); if (v > best3) { best3 = v; at3 = t + 10u; } } }
    if (t + 11u < end) { { let v = rank(c0_11); if (v > best0) { best0 = v; at0 = t + 11u; } } { let v = rank(c1_11); if (v > best1) { best1 = v; at1 = t + 11u; } } { let v = rank(c2_11); if (v > best2) { best2 = v; at2 = t + 11u; } } { let v = rank(c3_11); if (v > best3) { best3 = v; at3 = t + 11u; } } }
    if (t + 12u < end) { { let v = rank(c0_12); if (v > best0) { best0 = v; at0 = t + 12u; } } { let v = rank(c1_12); if (v > best1) { best1 = v; at1 = t + 12u; } } { let v = rank(c2_12); if (v > best2) { best2 = v; at2 = t + 12u; } } { let v = rank(c3_12); if (v > best3) { best3 = v; at3 = t + 12u; } } }
    if (t + 13u < end) { { let v = rank(c0_13); if (v > best0) { best0 = v; at0 = t + 13u; } } { let v = rank(c1_13); if (v > best1) { best1 = v; at1 = t + 13u; } } { let v = rank(c2_13); if (v > best2) { best2 = v; at2 = t + 13u; } } { let v = rank(c3_13); if (v > best3) { best3 = v; at3 = t + 13u; } } }
    if (t + 14u < end) { { let v = rank(c0_14); if (v > best0) { best0 = v; at0 = t + 14u; } } { let v = rank(c1_14); if (v > best1) { best1 = v; at1 = t + 14u; } } { let v = rank(c2_14); if (v > best2) { best2 = v; at2 = t + 14u; } } { let v = rank(c3_14); if (v > best3) { best3 = v; at3 = t + 14u; } } }
    if (t + 15u < end) { { let v = rank(c0_15); if (v > best0) { best0 = v; at0 = t + 15u; } } { let v = rank(c1_15); if (v > best1) { best1 = v; at1 = t + 15u; } } { let v = rank(c2_15); if (v > best2) { best2 = v; at2 = t + 15u; } } { let v = rank(c3_15); if (v > best3) { best3 = v; at3 = t + 15u; } } }
    if (t + 16u < end) { { let v = rank(c0_16); if (v > best0) { best0 = v; at0 = t + 16u; } } { let v = rank(c1_16); if (v > best1) { best1 = v; at1 = t + 16u; } } { let v = rank(c2_16); if (v > best2) { best2 = v; at2 = t + 16u; } } { let v = rank(c3_16); if (v > best3) { best3 = v; at3 = t + 16u; } } }
    if (t + 17u < end) { { let v = rank(c0_17); if (v > best0) { best0 = v; at0 = t + 17u; } } { let v = rank(c1_17); if (v > best1) { best1 = v; at1 = t + 17u; } } { let v = rank(c2_17); if (v > best2) { best2 = v; at2 = t + 17u; } } { let v = rank(c3_17); if (v > best3) { best3 = v; at3 = t + 17u; } } }
    if (t + 18u < end) { { let v = rank(c0_18); if (v > best0) { best0 = v; at0 = t + 18u; } } { let v = rank(c1_18); if (v > best1) { best1 = v; at1 = t + 18u; } } { let v = rank(c2_18); if (v > best2) { best2 = v; at2 = t + 18u; } } { let v = rank(c3_18); if (v > best3) { best3 = v; at3 = t + 18u; } } }
    if (t + 19u < end) { { let v = rank(c0_19); if (v > best0) { best0 = v; at0 = t + 19u; } } { let v = rank(c1_19); if (v > best1) { best1 = v; at1 = t + 19u; } } { let v = rank(c2_19); if (v > best2) { best2 = v; at2 = t + 19u; } } { let v = rank(c3_19); if (v > best3) { best3 = v; at3 = t + 19u; } } }
    if (t + 20u < end) { { let v = rank(c0_20); if (v > best0) { best0 = v; at0 = t + 20u; } } { let v = rank(c1_20); if (v > best1) { best1 = v; at1 = t + 20u; } } { let v = rank(c2_20); if (v > best2) { best2 = v; at2 = t + 20u; } } { let v = rank(c3_20); if (v > best3) { best3 = v; at3 = t + 20u; } } }
    if (t + 21u < end) { { let v = rank(c0_21); if (v > best0) { best0 = v; at0 = t + 21u; } } { let v = rank(c1_21); if (v > best1) { best1 = v; at1 = t + 21u; } } { let v = rank(c2_21); if (v > best2) { best2 = v; at2 = t + 21u; } } { let v = rank(c3_21); if (v > best3) { best3 = v; at3 = t + 21u; } } }
    if (t + 22u < end) { { let v = rank(c0_22); if (v > best0) { best0 = v; at0 = t + 22u; } } { let v = rank(c1_22); if (v > best1) { best1 = v; at1 = t + 22u; } } { let v = rank(c2_22); if (v > best2) { best2 = v; at2 = t + 22u; } } { let v = rank(c3_22); if (v > best3) { best3 = v; at3 = t + 22u; } } }
    if (t + 23u < end) { { let v = rank(c0_23); if (v > best0) { best0 = v; at0 = t + 23u; } } { let v = rank(c1_23); if (v > best1) { best1 = v; at1 = t + 23u; } } { let v = rank(c2_23); if (v > best2) { best2 = v; at2 = t + 23u; } } { let v = rank(c3_23); if (v > best3) { best3 = v; at3 = t + 23u; } } }
  }
  if (row0 < tile.y) { finish(row0, slot, passage, best0, at0); }
  if (row1 < tile.y) { finish(row1, slot, passage, best1, at1); }
  if (row2 < tile.y) { finish(row2, slot, passage, best2, at2); }
  if (row3 < tile.y) { finish(row3, slot, passage, best3, at3); }
}
