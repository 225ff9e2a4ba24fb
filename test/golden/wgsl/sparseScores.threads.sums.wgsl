// a thread a sum, which has few matches
// a CPU: part=value
requires immediate_address_space;
struct Params { count: u32, firstA: u32, endA: u32, firstB: u32, endB: u32, firstK: u32, endK: u32, fresh: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> A: array<f32>;
@group(0) @binding(1) var<storage, read> B: array<f32>;
@group(0) @binding(2) var<storage, read> starts: array<u32>;
@group(0) @binding(3) var<storage, read> matches: array<vec2u>;
@group(0) @binding(4) var<storage, read_write> ioY: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * 256u + local;

  if (i >= p.count) { return; }
  var sum = 0.0;
  if (p.fresh == 0u) { sum = ioY[i]; }
  for (var k = max(starts[i], p.firstK); k < min(starts[i + 1u], p.endK); k++) {
    let m = matches[k - p.firstK];
    if (m.x >= p.firstA && m.x < p.endA && m.y >= p.firstB && m.y < p.endB) {
      sum += A[m.x - p.firstA] * B[m.y - p.firstB];
    }
  }
  ioY[i] = sum;
}
