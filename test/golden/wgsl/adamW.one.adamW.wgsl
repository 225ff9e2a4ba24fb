// a group of four values a thread, neighbours side by side: what GPUs coalesce
// a CPU: halves=false
requires immediate_address_space;
struct Params { count: u32, rate: f32, beta1: f32, beta2: f32, eps: f32, decay: f32, scale2: f32, width: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read_write> ioP: array<vec4f>;
@group(0) @binding(1) var<storage, read> G: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> ioM: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> ioV: array<vec4f>;
@group(0) @binding(4) var<storage, read> factor: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * 256u + local;

  if (i >= p.count) { return; }
  if (factor[1] != 0.0) { return; }
  let g = G[i] * factor[0];

  let old = ioP[i];
  let m = p.beta1 * ioM[i] + (1.0 - p.beta1) * g;
  let v = p.beta2 * ioV[i] + (1.0 - p.beta2) * g * g;
  ioM[i] = m;
  ioV[i] = v;
  // rate = lr / (1 − β1^t), scale2 = 1 / √(1 − β2^t), decay = 1 − lr·λ
  let updated = old * p.decay - p.rate * m / (sqrt(v) * p.scale2 + p.eps);
  ioP[i] = updated;
  
}
