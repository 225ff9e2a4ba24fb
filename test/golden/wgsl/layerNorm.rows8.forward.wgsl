// eight rows for 8 lanes, one pass for both statistics: fewer loads, which is what CPUs pay for
// a CPU: columns=1 from=f32 residual=none to=f32
enable subgroups;
requires immediate_address_space;
struct Params { rows: u32, cols: u32, units: u32, quads: u32, eps: f32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> X: array<f32>;
@group(0) @binding(1) var<storage, read> gamma: array<f32>;
@group(0) @binding(2) var<storage, read> beta: array<f32>;
@group(0) @binding(3) var<storage, read_write> outY: array<f32>;
@group(0) @binding(4) var<storage, read_write> outStats: array<vec2f>;

// By bits: infinite, negative or not a number.
fn odd(v: vec4f) -> vec4<bool> { return bitcast<vec4u>(v) >= vec4u(0x7f800000u); }

@diagnostic(off, subgroup_uniformity)
@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let first = (group.y * groups.x + group.x) * 8u;
  if (first >= p.rows || p.units == 0u) { return; }
  let seen = lane < p.units;
  let at = min(lane, p.units - 1u);
  let n = f32(p.cols);
  var means: array<vec4f, 2>;
  var shifts: array<vec4f, 2>;
  var scales: array<vec4f, 2>;
  for (var quad = 0u; quad < p.quads; quad++) {
    let start = first + 4u * quad;
    let r0 = min(start + 0u, p.rows - 1u); let b0 = r0 * p.units;
    let r1 = min(start + 1u, p.rows - 1u); let b1 = r1 * p.units;
    let r2 = min(start + 2u, p.rows - 1u); let b2 = r2 * p.units;
    let r3 = min(start + 3u, p.rows - 1u); let b3 = r3 * p.units;
    var s0 = X[b0 + at]; s0 = select(f32(), s0, seen);
    var s1 = X[b1 + at]; s1 = select(f32(), s1, seen);
    var s2 = X[b2 + at]; s2 = select(f32(), s2, seen);
    var s3 = X[b3 + at]; s3 = select(f32(), s3, seen);
    var z = subgroupAdd(vec4f((s0), (s1), (s2), (s3))) / f32(min(p.units, 8u) * 1u);
    s0 = select(f32(), s0 - z.x, seen); var q0 = s0 * s0;
    s1 = select(f32(), s1 - z.y, seen); var q1 = s1 * s1;
    s2 = select(f32(), s2 - z.z, seen); var q2 = s2 * s2;
    s3 = select(f32(), s3 - z.w, seen); var q3 = s3 * s3;
    for (var c = lane + 8u; c < p.units; c += 8u) {
    { let v = X[b0 + c]; let d = v - z.x; s0 += d; q0 += d * d; }
    { let v = X[b1 + c]; let d = v - z.y; s1 += d; q1 += d * d; }
    { let v = X[b2 + c]; let d = v - z.z; s2 += d; q2 += d * d; }
    { let v = X[b3 + c]; let d = v - z.w; s3 += d; q3 += d * d; }
    }
    var e = subgroupAdd(vec4f((s0), (s1), (s2), (s3))) / n;
    var variance = subgroupAdd(vec4f((q0), (q1), (q2), (q3))) / n - e * e;
    if (any((e * e > 4.0 * variance) | odd(variance))) {
      for (var i = 0u; i < 4u; i++) {
        let r = min(start + i, p.rows - 1u);
        let b = r * p.units;
        var part = 0.0;
        for (var c = lane; c < p.units; c += 8u) { let v = X[b + c]; part += (v); }
        var mean = subgroupAdd(part) / n;
        part = 0.0;
        var rest = 0.0;
        for (var c = lane; c < p.units; c += 8u) { let d = X[b + c] - mean; part += (d * d); rest += (d); }
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
    let r4 = min(first + 4u, p.rows - 1u); let b4 = r4 * p.units;
    let r5 = min(first + 5u, p.rows - 1u); let b5 = r5 * p.units;
    let r6 = min(first + 6u, p.rows - 1u); let b6 = r6 * p.units;
    let r7 = min(first + 7u, p.rows - 1u); let b7 = r7 * p.units;
  let z0 = means[0]; let e0 = shifts[0]; let rstd0 = scales[0];
  let z1 = means[1]; let e1 = shifts[1]; let rstd1 = scales[1];
  for (var c = lane; c < p.units; c += 8u) {
    let g = gamma[c];
    let h = beta[c];
    outY[b0 + c] = ((X[b0 + c] - z0.x) - e0.x) * rstd0.x * g + h;
    outY[b1 + c] = ((X[b1 + c] - z0.y) - e0.y) * rstd0.y * g + h;
    outY[b2 + c] = ((X[b2 + c] - z0.z) - e0.z) * rstd0.z * g + h;
    outY[b3 + c] = ((X[b3 + c] - z0.w) - e0.w) * rstd0.w * g + h;
    outY[b4 + c] = ((X[b4 + c] - z1.x) - e1.x) * rstd1.x * g + h;
    outY[b5 + c] = ((X[b5 + c] - z1.y) - e1.y) * rstd1.y * g + h;
    outY[b6 + c] = ((X[b6 + c] - z1.z) - e1.z) * rstd1.z * g + h;
    outY[b7 + c] = ((X[b7 + c] - z1.w) - e1.w) * rstd1.w * g + h;
  }
  if (lane == 0u) {
    outStats[r0] = vec2f(z0.x + e0.x, rstd0.x);
    outStats[r1] = vec2f(z0.y + e0.y, rstd0.y);
    outStats[r2] = vec2f(z0.z + e0.z, rstd0.z);
    outStats[r3] = vec2f(z0.w + e0.w, rstd0.w);
    outStats[r4] = vec2f(z1.x + e1.x, rstd1.x);
    outStats[r5] = vec2f(z1.y + e1.y, rstd1.y);
    outStats[r6] = vec2f(z1.z + e1.z, rstd1.z);
    outStats[r7] = vec2f(z1.w + e1.w, rstd1.w);
  }
}
