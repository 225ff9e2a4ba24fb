// 32 threads a row of the result, each of which adds up the rows of its segment in their order
// a CPU: columns=1
requires immediate_address_space;
struct Params { segments: u32, cols: u32, accumulate: u32, first: u32, end: u32, firstX: u32, endX: u32, firstK: u32, endK: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> X: array<f32>;
@group(0) @binding(1) var<storage, read> order: array<u32>;
@group(0) @binding(2) var<storage, read> starts: array<u32>;
@group(0) @binding(3) var<storage, read> rows: array<u32>;
@group(0) @binding(4) var<storage, read_write> ioY: array<f32>;

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= p.segments) { return; }
  let target_ = rows[row];
  if (target_ < p.first || target_ >= p.end) { return; }
  let begin = max(starts[row], p.firstK);
  let end = min(starts[row + 1u], p.endK);
  let base = (target_ - p.first) * p.cols;
  for (var c0 = lane; c0 < p.cols; c0 += 32u) {
    var sum0 = f32();
    for (var k = begin; k < end; k++) {
      let own = order[k - p.firstK];
      if (own >= p.firstX && own < p.endX) {
        let at = (own - p.firstX) * p.cols;
        sum0 += X[at + c0];
      }
    }
    if (p.accumulate != 0u) { sum0 += ioY[base + c0]; }
    ioY[base + c0] = sum0;
  }
}
