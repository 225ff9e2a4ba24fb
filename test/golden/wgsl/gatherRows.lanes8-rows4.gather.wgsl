// on CPUs: as many threads as run together, for four rows one after the other
// a CPU: columns=1
requires immediate_address_space;
struct Params { rows: u32, cols: u32, first: u32, end: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> table: array<f32>;
@group(0) @binding(1) var<storage, read> index: array<u32>;
@group(0) @binding(2) var<storage, read_write> outY: array<f32>;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let start = (group.y * groups.x + group.x) * 4u;
  for (var row = start; row < min(start + 4u, p.rows); row++) {
  let source = index[row];
  if (source < p.first || source >= p.end) { continue; }
  let own = (source - p.first) * p.cols;
  let base = row * p.cols;
  for (var c0 = lane; c0 < p.cols; c0 += 8u) {
    let v0 = table[own + c0];
    outY[base + c0] = v0;
  }
  }
}
