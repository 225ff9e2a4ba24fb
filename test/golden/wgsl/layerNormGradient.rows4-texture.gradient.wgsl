// the same through storage textures, whose loads are cheaper where compilers make no gathers (AVX2)
// a CPU: columns=4 outer=f32 own=f32
enable subgroups;
requires immediate_address_space;
struct Params { rows: u32, cols: u32, units: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var DY: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var S: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var<storage, read> stats: array<vec2f>;
@group(0) @binding(3) var<storage, read> gamma: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> outS: array<vec4f>;

@diagnostic(off, subgroup_uniformity)
@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let first = (group.y * groups.x + group.x) * 4u;
  if (first >= p.rows || p.units == 0u) { return; }
    let r0 = min(first + 0u, p.rows - 1u); let b0 = r0 * p.units;
    let r1 = min(first + 1u, p.rows - 1u); let b1 = r1 * p.units;
    let r2 = min(first + 2u, p.rows - 1u); let b2 = r2 * p.units;
    let r3 = min(first + 3u, p.rows - 1u); let b3 = r3 * p.units;
  let mean0 = stats[r0].x; let rstd0 = stats[r0].y; var a0 = vec4f(); var x0 = vec4f();
    let mean1 = stats[r1].x; let rstd1 = stats[r1].y; var a1 = vec4f(); var x1 = vec4f();
    let mean2 = stats[r2].x; let rstd2 = stats[r2].y; var a2 = vec4f(); var x2 = vec4f();
    let mean3 = stats[r3].x; let rstd3 = stats[r3].y; var a3 = vec4f(); var x3 = vec4f();
  for (var c = lane; c < p.units; c += 8u) {
    let weight = gamma[c];
    { let g = textureLoad(DY, vec2u(c, r0)) * weight; a0 += g; x0 += g * (textureLoad(S, vec2u(c, r0)) - mean0); }
    { let g = textureLoad(DY, vec2u(c, r1)) * weight; a1 += g; x1 += g * (textureLoad(S, vec2u(c, r1)) - mean1); }
    { let g = textureLoad(DY, vec2u(c, r2)) * weight; a2 += g; x2 += g * (textureLoad(S, vec2u(c, r2)) - mean2); }
    { let g = textureLoad(DY, vec2u(c, r3)) * weight; a3 += g; x3 += g * (textureLoad(S, vec2u(c, r3)) - mean3); }
  }
  let meanG = subgroupAdd(vec4f(dot(a0, vec4f(1.0)), dot(a1, vec4f(1.0)), dot(a2, vec4f(1.0)), dot(a3, vec4f(1.0)))) / f32(p.cols);
  let meanGx = subgroupAdd(vec4f(dot(x0, vec4f(1.0)), dot(x1, vec4f(1.0)), dot(x2, vec4f(1.0)), dot(x3, vec4f(1.0)))) * vec4f(rstd0, rstd1, rstd2, rstd3) / f32(p.cols);
  for (var c = lane; c < p.units; c += 8u) {
    let weight = gamma[c];
    { let g = textureLoad(DY, vec2u(c, r0)) * weight; outS[b0 + c] = rstd0 * (g - meanG.x - (textureLoad(S, vec2u(c, r0)) - mean0) * rstd0 * meanGx.x); }
    { let g = textureLoad(DY, vec2u(c, r1)) * weight; outS[b1 + c] = rstd1 * (g - meanG.y - (textureLoad(S, vec2u(c, r1)) - mean1) * rstd1 * meanGx.y); }
    { let g = textureLoad(DY, vec2u(c, r2)) * weight; outS[b2 + c] = rstd2 * (g - meanG.z - (textureLoad(S, vec2u(c, r2)) - mean2) * rstd2 * meanGx.z); }
    { let g = textureLoad(DY, vec2u(c, r3)) * weight; outS[b3 + c] = rstd3 * (g - meanG.w - (textureLoad(S, vec2u(c, r3)) - mean3) * rstd3 * meanGx.w); }
  }
}
