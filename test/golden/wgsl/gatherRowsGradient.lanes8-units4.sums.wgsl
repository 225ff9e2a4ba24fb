// on CPUs: as many threads as run together, each with four sums, so that the order is read a quarter as often
// a CPU: columns=1
requires immediate_address_space;
struct Params { segments: u32, cols: u32, accumulate: u32, first: u32, end: u32, firstX: u32, endX: u32, firstK: u32, endK: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> X: array<f32>;
@group(0) @binding(1) var<storage, read> order: array<u32>;
@group(0) @binding(2) var<storage, read> starts: array<u32>;
@group(0) @binding(3) var<storage, read> rows: array<u32>;
@group(0) @binding(4) var<storage, read_write> ioY: array<f32>;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= p.segments) { return; }
  let target_ = rows[row];
  if (target_ < p.first || target_ >= p.end) { return; }
  let begin = max(starts[row], p.firstK);
  let end = min(starts[row + 1u], p.endK);
  let base = (target_ - p.first) * p.cols;
  for (var c = lane; c < p.cols; c += 32u) {
      let c0 = min(c + 0u, p.cols - 1u); let c1 = min(c + 8u, p.cols - 1u); let c2 = min(c + 16u, p.cols - 1u); let c3 = min(c + 24u, p.cols - 1u);
    var sum0 = f32(); var sum1 = f32(); var sum2 = f32(); var sum3 = f32();
    for (var k = begin; k < end; k++) {
      let own = order[k - p.firstK];
      if (own >= p.firstX && own < p.endX) {
        let at = (own - p.firstX) * p.cols;
        sum0 += X[at + c0]; sum1 += X[at + c1]; sum2 += X[at + c2]; sum3 += X[at + c3];
      }
    }
    if (p.accumulate != 0u) { sum0 += ioY[base + c0]; sum1 += ioY[base + c1]; sum2 += ioY[base + c2]; sum3 += ioY[base + c3]; }
    ioY[base + c0] = sum0; if (c + 8u < p.cols) { ioY[base + c1] = sum1; } if (c + 16u < p.cols) { ioY[base + c2] = sum2; } if (c + 24u < p.cols) { ioY[base + c3] = sum3; }
  }
}
