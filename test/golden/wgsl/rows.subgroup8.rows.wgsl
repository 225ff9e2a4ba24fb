// 8 lanes a row, which reduce in their subgroup: where barriers are dear, as on lavapipe
// a CPU: dtype=f32 of=sum
enable subgroups;
requires immediate_address_space;
struct Params { first: u32, rows: u32, length: u32, piece: u32, pieces: u32, scale: f32, baseX: u32, baseY: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> X: array<f32>;
@group(0) @binding(1) var<storage, read_write> outY: array<f32>;

fn rowTotal(v: f32, lane: u32) -> f32 { return subgroupAdd(v); }
const LANES = 8u;

fn rowSum(v: f32, lane: u32) -> f32 { return subgroupAdd(v); }
fn rowMax(v: u32, lane: u32) -> u32 { return subgroupMax(v); }
@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= p.rows) { return; }

  let own = p.first + row;
  let start = (own % p.pieces) * p.piece;
  // Where the window begins is taken off modulo 2³².
  let base = (own / p.pieces) * p.length - p.baseX;
  let end = min(p.length, start + p.piece);
  var part = f32();
  for (var outer = start + lane; outer < end; outer += 1024u * LANES) {
    var chains = f32();
    for (var inner = outer; inner < min(end, outer + 1024u * LANES); inner += 16u * LANES) {
      var chain = f32();
      for (var c = inner; c < min(end, inner + 16u * LANES); c += LANES) { chain += X[base + c]; }
      chains += chain;
    }
    part += chains;
  }
  let total = rowTotal(part, lane);
  if (lane == 0u) { outY[own - p.baseY] = total * p.scale; }
}
