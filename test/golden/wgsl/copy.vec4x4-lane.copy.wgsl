// four vec4s a thread, side by side and written out: what CPUs stream best, as loops there cost by the lane
// a CPU: dtype=f32
requires immediate_address_space;
struct Params { units: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> X: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> outY: array<vec4f>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * 256u + local;

  if (i >= p.units) { return; }
  let at = 4u * i;
  outY[at + 0u] = X[at + 0u];
  outY[at + 1u] = X[at + 1u];
  outY[at + 2u] = X[at + 2u];
  outY[at + 3u] = X[at + 3u];
}
