// 64 threads a row, which reduce through workgroup memory
// a CPU: part=gradient
requires immediate_address_space;
struct Params { rows: u32, cols: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> I: array<u32>;
@group(0) @binding(1) var<storage, read> DY: array<f32>;
@group(0) @binding(2) var<storage, read_write> outX: array<f32>;

const LANES = 64u;


var<workgroup> rowSumScratch: array<f32, 64>;
fn rowSum(v: f32, lane: u32) -> f32 {
  rowSumScratch[lane] = v;
  workgroupBarrier();
  for (var s = 32u; s > 0u; s >>= 1u) {
    if (lane < s) { let a = rowSumScratch[lane]; let b = rowSumScratch[lane + s]; rowSumScratch[lane] = a + b; }
    workgroupBarrier();
  }
  let result = rowSumScratch[0];
  workgroupBarrier();
  return result;
}

var<workgroup> rowMaxScratch: array<u32, 64>;
fn rowMax(v: u32, lane: u32) -> u32 {
  rowMaxScratch[lane] = v;
  workgroupBarrier();
  for (var s = 32u; s > 0u; s >>= 1u) {
    if (lane < s) { let a = rowMaxScratch[lane]; let b = rowMaxScratch[lane + s]; rowMaxScratch[lane] = max(a, b); }
    workgroupBarrier();
  }
  let result = rowMaxScratch[0];
  workgroupBarrier();
  return result;
}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= p.rows) { return; }

  for (var c = lane; c < p.cols; c += LANES) { outX[row * p.cols + c] = select(0.0, DY[row], I[row] == c); }
}
