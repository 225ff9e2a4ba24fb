// works anywhere: tiles through workgroup memory; one thread a pair where rows are no whole fours
// a CPU: unit=1
requires immediate_address_space;
struct Params { cols: u32, columns: u32, firstRow: u32, skipped: u32, count: u32, firstSlot: u32, slots: u32, baseQ: u32, baseV: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> Q: array<f32>;
@group(0) @binding(1) var<storage, read> V: array<f32>;
@group(0) @binding(2) var<storage, read> tokens: array<vec2u>;
@group(0) @binding(3) var<storage, read> queries: array<vec4u>;
@group(0) @binding(4) var<storage, read> passages: array<vec4u>;
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

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * 256u + local;

  if (i >= p.count) { return; }
  let row = p.firstRow + p.skipped + i / p.slots;
  let slot = p.firstSlot + i % p.slots;
  let token = tokens[row];
  let passage = queries[token.y].z + slot;
  let own = token.x * p.cols - p.baseQ;
  var best = 0u;
  var at = 0u;
  for (var t = passages[passage].x; t < passages[passage].y; t++) {
    let other = t * p.cols - p.baseV;
    var sum = 0.0;
    for (var k = 0u; k < p.cols; k++) { sum += Q[own + k] * V[other + k]; }
    let v = rank(sum);
    if (v > best) { best = v; at = t; }
  }
  finish(row, slot, passage, best, at);
}
