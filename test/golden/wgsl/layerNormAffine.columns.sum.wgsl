// a thread a unit of columns, 32 threads side by side
// a CPU: columns=1 outer=f32 own=f32
requires immediate_address_space;
struct Params { chunks: u32, units: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> P: array<f32>;
@group(0) @binding(1) var<storage, read_write> outG: array<f32>;
@group(0) @binding(2) var<storage, read_write> outB: array<f32>;

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let column = group.x * 32u + lane;
  if (column >= 2u * p.units) { return; }
  var sum = f32();
  for (var outer = 0u; outer < p.chunks; outer += 1024u * 1u) {
    var chains = f32();
    for (var inner = outer; inner < min(p.chunks, outer + 1024u * 1u); inner += 16u * 1u) {
      var chain = f32();
      for (var c = inner; c < min(p.chunks, inner + 16u * 1u); c += 1u) { chain += P[2u * c * p.units + column]; }
      chains += chain;
    }
    sum += chains;
  }
  if (column < p.units) { outG[column] = sum; } else { outB[column - p.units] = sum; }
}
