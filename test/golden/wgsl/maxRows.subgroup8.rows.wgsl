// 8 lanes a row, which reduce in their subgroup: where barriers are dear, as on lavapipe
// a CPU: again=false dtype=f32 of=max
enable subgroups;
requires immediate_address_space;
struct Params { first: u32, rows: u32, length: u32, piece: u32, pieces: u32, baseX: u32, baseY: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> X: array<f32>;
@group(0) @binding(1) var<storage, read_write> outV: array<f32>;
@group(0) @binding(2) var<storage, read_write> outI: array<u32>;

fn rank(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  let size = bits & 0x7fffffffu;
  return select(select(size | 0x80000000u, 0x80000000u - size, bits > 0x7fffffffu), 0xffffffffu, size > 0x7f800000u);
}
fn unrank(rank: u32) -> f32 {
  return bitcast<f32>(select((0x80000000u - rank) | 0x80000000u, rank & 0x7fffffffu, rank > 0x7fffffffu));
}

fn keyOf(v: f32) -> u32 { let key = rank(v); return key; }
fn valueOf(key: u32) -> f32 { let own = key; return unrank(own); }

const LANES = 8u;

fn rowSum(v: f32, lane: u32) -> f32 { return subgroupAdd(v); }
fn rowMax(v: u32, lane: u32) -> u32 { return subgroupMax(v); }
@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= p.rows) { return; }

  let own = p.first + row;
  let start = (own % p.pieces) * p.piece;
  let base = (own / p.pieces) * p.length - p.baseX;
  let end = min(p.length, start + p.piece);
  var best = 0u;
  var at = start;
  for (var c = start + lane; c < end; c += LANES) { let key = keyOf(X[base + c]); if (key > best) { best = key; at = c; } }
  let top = rowMax(best, lane);
  // The first position: the smallest among the lanes that hold the largest key.
  let first = ~rowMax(select(0u, ~at, best == top), lane);
  if (lane == 0u) { outV[own - p.baseY] = valueOf(top); outI[own - p.baseY] = first; }
}
