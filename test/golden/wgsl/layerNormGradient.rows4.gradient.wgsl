// four rows for 8 lanes: γ is loaded once for four rows
// a CPU: columns=1 outer=f32 own=f32
enable subgroups;
requires immediate_address_space;
struct Params { rows: u32, cols: u32, units: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> DY: array<f32>;
@group(0) @binding(1) var<storage, read> S: array<f32>;
@group(0) @binding(2) var<storage, read> stats: array<vec2f>;
@group(0) @binding(3) var<storage, read> gamma: array<f32>;
@group(0) @binding(4) var<storage, read_write> outS: array<f32>;

@diagnostic(off, subgroup_uniformity)
@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let first = (group.y * groups.x + group.x) * 4u;
  if (first >= p.rows || p.units == 0u) { return; }
    let r0 = min(first + 0u, p.rows - 1u); let b0 = r0 * p.units;
    let r1 = min(first + 1u, p.rows - 1u); let b1 = r1 * p.units;
    let r2 = min(first + 2u, p.rows - 1u); let b2 = r2 * p.units;
    let r3 = min(first + 3u, p.rows - 1u); let b3 = r3 * p.units;
  let mean0 = stats[r0].x; let rstd0 = stats[r0].y; var a0 = f32(); var x0 = f32();
    let mean1 = stats[r1].x; let rstd1 = stats[r1].y; var a1 = f32(); var x1 = f32();
    let mean2 = stats[r2].x; let rstd2 = stats[r2].y; var a2 = f32(); var x2 = f32();
    let mean3 = stats[r3].x; let rstd3 = stats[r3].y; var a3 = f32(); var x3 = f32();
  for (var c = lane; c < p.units; c += 8u) {
    let weight = gamma[c];
    { let g = DY[b0 + c] * weight; a0 += g; x0 += g * (S[b0 + c] - mean0); }
    { let g = DY[b1 + c] * weight; a1 += g; x1 += g * (S[b1 + c] - mean1); }
    { let g = DY[b2 + c] * weight; a2 += g; x2 += g * (S[b2 + c] - mean2); }
    { let g = DY[b3 + c] * weight; a3 += g; x3 += g * (S[b3 + c] - mean3); }
  }
  let meanG = subgroupAdd(vec4f((a0), (a1), (a2), (a3))) / f32(p.cols);
  let meanGx = subgroupAdd(vec4f((x0), (x1), (x2), (x3))) * vec4f(rstd0, rstd1, rstd2, rstd3) / f32(p.cols);
  for (var c = lane; c < p.units; c += 8u) {
    let weight = gamma[c];
    { let g = DY[b0 + c] * weight; outS[b0 + c] = rstd0 * (g - meanG.x - (S[b0 + c] - mean0) * rstd0 * meanGx.x); }
    { let g = DY[b1 + c] * weight; outS[b1 + c] = rstd1 * (g - meanG.y - (S[b1 + c] - mean1) * rstd1 * meanGx.y); }
    { let g = DY[b2 + c] * weight; outS[b2 + c] = rstd2 * (g - meanG.z - (S[b2 + c] - mean2) * rstd2 * meanGx.z); }
    { let g = DY[b3 + c] * weight; outS[b3 + c] = rstd3 * (g - meanG.w - (S[b3 + c] - mean3) * rstd3 * meanGx.w); }
  }
}
