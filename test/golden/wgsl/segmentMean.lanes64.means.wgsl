// 64 threads a sequence, each of which walks down its columns
// a CPU: part=gradient
requires immediate_address_space;
struct Params { sequences: u32, cols: u32, first: u32, end: u32, accumulate: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read_write> outX: array<f32>;
@group(0) @binding(1) var<storage, read> starts: array<u32>;
@group(0) @binding(2) var<storage, read> DY: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let s = group.y * groups.x + group.x;
  if (s >= p.sequences) { return; }
  let begin = starts[s];
  let end = starts[s + 1u];
  let seen = max(begin, p.first);
  let after = min(end, p.end);
  let scale = 1.0 / f32(max(1u, end - begin));
  for (var column = lane; column < p.cols; column += 64u) {
    let v = DY[s * p.cols + column] * scale;
    for (var t = seen; t < after; t++) { outX[(t - p.first) * p.cols + column] = v; }
  }
}
