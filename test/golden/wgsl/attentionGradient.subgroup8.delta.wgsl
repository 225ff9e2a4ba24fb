// lavapipe: 8 lanes hand rows round by themselves, and loads from textures cost a fraction of those from buffers
// a CPU: dropout=false dtype=f32 headDim=32
requires immediate_address_space;
struct Params { count: u32, d4: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> O: array<vec4f>;
@group(0) @binding(1) var<storage, read> DO: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> outD: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * 256u + local;

  if (i >= p.count) { return; }
  let base = i * p.d4;
  var sum = 0.0;
  for (var e = 0u; e < p.d4; e++) { sum += dot(O[base + e], DO[base + e]); }
  outD[i] = sum;
}
