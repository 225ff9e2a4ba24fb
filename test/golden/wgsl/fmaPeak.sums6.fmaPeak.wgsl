// six: 24 registers
// a CPU: dtype=f32
requires immediate_address_space;
struct Params { units: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> X: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> outY: array<vec4f>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * 256u + local;

  if (i >= p.units) { return; }
  // One value for all lanes, and a factor that no compiler can know: registers are for the sums.
  let x = vec4f(X[i].x);
  let half = vec4f(select(0.0, 0.5, p.units > 0u));
  var s0 = X[i] * 0.0; var s1 = X[i] * 1.0; var s2 = X[i] * 2.0; var s3 = X[i] * 3.0; var s4 = X[i] * 4.0; var s5 = X[i] * 5.0;
  for (var step = 0u; step < 960u; step += 24u) {
    s0 = fma(s0, half, x); s1 = fma(s1, half, x); s2 = fma(s2, half, x); s3 = fma(s3, half, x); s4 = fma(s4, half, x); s5 = fma(s5, half, x);
    s0 = fma(s0, half, x); s1 = fma(s1, half, x); s2 = fma(s2, half, x); s3 = fma(s3, half, x); s4 = fma(s4, half, x); s5 = fma(s5, half, x);
    s0 = fma(s0, half, x); s1 = fma(s1, half, x); s2 = fma(s2, half, x); s3 = fma(s3, half, x); s4 = fma(s4, half, x); s5 = fma(s5, half, x);
    s0 = fma(s0, half, x); s1 = fma(s1, half, x); s2 = fma(s2, half, x); s3 = fma(s3, half, x); s4 = fma(s4, half, x); s5 = fma(s5, half, x);
  }
  outY[i] = (s0 + s1 + s2 + s3 + s4 + s5) * 0.16666666666666666;
}
