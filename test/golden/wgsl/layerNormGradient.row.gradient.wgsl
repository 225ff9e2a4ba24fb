// a workgroup a row, two passes, sums in workgroup memory: right everywhere
// a CPU: columns=1 outer=f32 own=f32
requires immediate_address_space;
struct Params { rows: u32, cols: u32, units: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> DY: array<f32>;
@group(0) @binding(1) var<storage, read> S: array<f32>;
@group(0) @binding(2) var<storage, read> stats: array<vec2f>;
@group(0) @binding(3) var<storage, read> gamma: array<f32>;
@group(0) @binding(4) var<storage, read_write> outS: array<f32>;

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

  let mean = stats[row].x;
  let rstd = stats[row].y;
  var a = 0.0;
  var b = 0.0;
  for (var c = lane; c < p.units; c += LANES) {
    let at = row * p.units + c;
    let g = DY[at] * gamma[c];
    a += (g);
    b += (g * (S[at] - mean));
  }
  let meanG = rowSum(a, lane) / f32(p.cols);
  let meanGx = rowSum(b, lane) * rstd / f32(p.cols);
  for (var c = lane; c < p.units; c += LANES) {
    let at = row * p.units + c;
    let g = DY[at] * gamma[c];
    outS[at] = rstd * (g - meanG - (S[at] - mean) * rstd * meanGx);
  }
}
