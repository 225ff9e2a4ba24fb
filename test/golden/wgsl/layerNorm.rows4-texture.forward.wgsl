// four rows for 8 lanes, through storage textures, whose loads are cheaper where compilers make no gathers (AVX2)
// a CPU: columns=4 from=f32 residual=none to=f32
enable subgroups;
requires immediate_address_space;
struct Params { rows: u32, cols: u32, units: u32, quads: u32, eps: f32 }
var<immediate> p: Params;
@group(0) @binding(0) var X: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var<storage, read> gamma: array<vec4f>;
@group(0) @binding(2) var<storage, read> beta: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> outY: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> outStats: array<vec2f>;

// By bits: infinite, negative or not a number.
fn odd(v: vec4f) -> vec4<bool> { return bitcast<vec4u>(v) >= vec4u(0x7f800000u); }

@diagnostic(off, subgroup_uniformity)
@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let first = (group.y * groups.x + group.x) * 4u;
  if (first >= p.rows || p.units == 0u) { return; }
  let seen = lane < p.units;
  let at = min(lane, p.units - 1u);
  let n = f32(p.cols);
  var means: array<vec4f, 1>;
  var shifts: array<vec4f, 1>;
  var scales: array<vec4f, 1>;
  for (var quad = 0u; quad < p.quads; quad++) {
    let start = first + 4u * quad;
    let r0 = min(start + 0u, p.rows - 1u); let b0 = r0 * p.units;
    let r1 = min(start + 1u, p.rows - 1u); let b1 = r1 * p.units;
    let r2 = min(start + 2u, p.rows - 1u); let b2 = r2 * p.units;
    let r3 = min(start + 3u, p.rows - 1u); let b3 = r3 * p.units;
    var s0 = textureLoad(X, vec2u(at, r0)); s0 = select(vec4f(), s0, seen);
    var s1 = textureLoad(X, vec2u(at, r1)); s1 = select(vec4f(), s1, seen);
    var s2 = textureLoad(X, vec2u(at, r2)); s2 = select(vec4f(), s2, seen);
    var s3 = textureLoad(X, vec2u(at, r3)); s3 = select(vec4f(), s3, seen);
    var z = subgroupAdd(vec4f(dot(s0, vec4f(1.0)), dot(s1, vec4f(1.0)), dot(s2, vec4f(1.0)), dot(s3, vec4f(1.0)))) / f32(min(p.units, 8u) * 4u);
    s0 = select(vec4f(), s0 - z.x, seen); var q0 = s0 * s0;
    s1 = select(vec4f(), s1 - z.y, seen); var q1 = s1 * s1;
    s2 = select(vec4f(), s2 - z.z, seen); var q2 = s2 * s2;
    s3 = select(vec4f(), s3 - z.w, seen); var q3 = s3 * s3;
    for (var c = lane + 8u; c < p.units; c += 8u) {
    { let v = textureLoad(X, vec2u(c, r0)); let d = v - z.x; s0 += d; q0 += d * d; }
    { let v = textureLoad(X, vec2u(c, r1)); let d = v - z.y; s1 += d; q1 += d * d; }
    { let v = textureLoad(X, vec2u(c, r2)); let d = v - z.z; s2 += d; q2 += d * d; }
    { let v = textureLoad(X, vec2u(c, r3)); let d = v - z.w; s3 += d; q3 += d * d; }
    }
    var e = subgroupAdd(vec4f(dot(s0, vec4f(1.0)), dot(s1, vec4f(1.0)), dot(s2, vec4f(1.0)), dot(s3, vec4f(1.0)))) / n;
    var variance = subgroupAdd(vec4f(dot(q0, vec4f(1.0)), dot(q1, vec4f(1.0)), dot(q2, vec4f(1.0)), dot(q3, vec4f(1.0)))) / n - e * e;
    if (any((e * e > 4.0 * variance) | odd(variance))) {
      for (var i = 0u; i < 4u; i++) {
        let r = min(start + i, p.rows - 1u);
        let b = r * p.units;
        var part = 0.0;
        for (var c = lane; c < p.units; c += 8u) { let v = textureLoad(X, vec2u(c, r)); part += dot(v, vec4f(1.0)); }
        var mean = subgroupAdd(part) / n;
        part = 0.0;
        var rest = 0.0;
        for (var c = lane; c < p.units; c += 8u) { let d = textureLoad(X, vec2u(c, r)) - mean; part += dot(d * d, vec4f(1.0)); rest += dot(d, vec4f(1.0)); }
        var spread = subgroupAdd(part) / n;
        let shift = subgroupAdd(rest) / n;
        if (shift * shift > 1e-12 * spread) {
          mean += shift;
          spread = max(0.0, spread - shift * shift);
        }
        z[i] = mean;
        variance[i] = spread;
      }
      e = vec4f();
    }
    variance += vec4f(p.eps);
    means[quad] = z;
    shifts[quad] = e;
    scales[quad] = select(inverseSqrt(variance), bitcast<vec4f>(vec4u(0x7fc00000u) | bitcast<vec4u>(variance)), odd(variance));
  }
  let r0 = min(first + 0u, p.rows - 1u); let b0 = r0 * p.units;
    let r1 = min(first + 1u, p.rows - 1u); let b1 = r1 * p.units;
    let r2 = min(first + 2u, p.rows - 1u); let b2 = r2 * p.units;
    let r3 = min(first + 3u, p.rows - 1u); let b3 = r3 * p.units;
  let z0 = means[0]; let e0 = shifts[0]; let rstd0 = scales[0];
  for (var c = lane; c < p.units; c += 8u) {
    let g = gamma[c];
    let h = beta[c];
    outY[b0 + c] = ((textureLoad(X, vec2u(c, r0)) - z0.x) - e0.x) * rstd0.x * g + h;
    outY[b1 + c] = ((textureLoad(X, vec2u(c, r1)) - z0.y) - e0.y) * rstd0.y * g + h;
    outY[b2 + c] = ((textureLoad(X, vec2u(c, r2)) - z0.z) - e0.z) * rstd0.z * g + h;
    outY[b3 + c] = ((textureLoad(X, vec2u(c, r3)) - z0.w) - e0.w) * rstd0.w * g + h;
  }
  if (lane == 0u) {
    outStats[r0] = vec2f(z0.x + e0.x, rstd0.x);
    outStats[r1] = vec2f(z0.y + e0.y, rstd0.y);
    outStats[r2] = vec2f(z0.z + e0.z, rstd0.z);
    outStats[r3] = vec2f(z0.w + e0.w, rstd0.w);
  }
}
