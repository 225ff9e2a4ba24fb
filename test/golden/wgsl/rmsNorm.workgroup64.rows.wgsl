// 64 threads a row, which reduce through workgroup memory
// a CPU: dtype=f32 part=value unit=v4
requires immediate_address_space;
struct Params { rows: u32, cols: u32, units: u32, eps: f32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> X: array<vec4f>;
@group(0) @binding(1) var<storage, read> gamma: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> outY: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> outStats: array<vec2f>;

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

  let base = row * p.units;
  var part = vec4f();
  for (var outer = lane; outer < p.units; outer += 1024u * LANES) {
    var chains = vec4f();
    for (var inner = outer; inner < min(p.units, outer + 1024u * LANES); inner += 16u * LANES) {
      var chain = vec4f();
      for (var c = inner; c < min(p.units, inner + 16u * LANES); c += LANES) { chain += X[base + c] * X[base + c]; }
      chains += chain;
    }
    part += chains;
  }
  let rstd = inverseSqrt(rowSum(dot(part, vec4f(1.0)), lane) / f32(p.cols) + p.eps);
  for (var c = lane; c < p.units; c += LANES) { outY[base + c] = X[base + c] * rstd * gamma[c]; }
  if (lane == 0u) { outStats[row] = vec2f(0.0, rstd); }
}
