// 32 threads a row, side by side
// a CPU: columns=1
requires immediate_address_space;
struct Params { rows: u32, cols: u32, first: u32, end: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> table: array<f32>;
@group(0) @binding(1) var<storage, read> index: array<u32>;
@group(0) @binding(2) var<storage, read_write> outY: array<f32>;

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= p.rows) { return; }
  let source = index[row];
  if (source < p.first || source >= p.end) { return; }
  let own = (source - p.first) * p.cols;
  let base = row * p.cols;
  for (var c0 = lane; c0 < p.cols; c0 += 32u) {
    let v0 = table[own + c0];
    outY[base + c0] = v0;
  }
}
