// 64 threads a row, which reduce through workgroup memory
// a CPU: again=false dtype=f32 of=max
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

const LANES = 64u;


var<workgroup> rowSumScratch: array<f32, 64>;
fn rowSum(v: f32, lane: u32) -> f32 {
  rowSumScratch[lane] = v;
  workgroupBarrier();
  for (var s = 32u; s > 0u; s >>= 1u) {
    if (lane < s) { let a = rowSumScratch[lane]; let b = rowSumScratch[lane + s]; rowSumScratch[lane] = a + b; }
    workgroupBarrier();
  }
  let result = rowSumScratch[0];
  workgroupBarrier();
  return result;
}

var<workgroup> rowMaxScratch: array<u32, 64>;
fn rowMax(v: u32, lane: u32) -> u32 {
  rowMaxScratch[lane] = v;
  workgroupBarrier();
  for (var s = 32u; s > 0u; s >>= 1u) {
    if (lane < s) { let a = rowMaxScratch[lane]; let b = rowMaxScratch[lane + s]; rowMaxScratch[lane] = max(a, b); }
    workgroupBarrier();
  }
  let result = rowMaxScratch[0];
  workgroupBarrier();
  return result;
}
@compute @workgroup_size(64)
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
