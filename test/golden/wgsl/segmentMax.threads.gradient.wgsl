// a thread a group, which are short
// a CPU: part=gradient
requires immediate_address_space;
struct Params { groups: u32, first: u32, end: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> P: array<u32>;
@group(0) @binding(1) var<storage, read> DY: array<f32>;
@group(0) @binding(2) var<storage, read_write> outX: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * 256u + local;

  if (i >= p.groups) { return; }
  // No position is as large as 0xffffffffu.
  if (P[i] >= p.first && P[i] < p.end) { outX[P[i] - p.first] = DY[i]; }
}
