// few tiles and a long K: workgroups share K, and a second kernel adds their sums in order
// a CPU: a=f32 b=f32 c=f32 gelu=false transA=false transB=true
requires immediate_address_space;
struct Params { M: u32, N: u32, K: u32, lda: u32, ldb: u32, ldc: u32, startA: u32, startB: u32, startC: u32, hasBias: u32, accumulate: u32, parts: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> S: array<vec4f>;
@group(0) @binding(1) var<storage, read> bias: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> outC: array<vec4f>;

fn finish(at: u32, v: u32, value: vec4f) {
  var sum = value;
  if (p.hasBias != 0u) { sum += bias[v]; }
  if (p.accumulate != 0u) { sum += outC[at]; }
  
  outC[at] = sum;
}
fn store(row: u32, v: u32, sum: vec4f, part: u32) {
  if (row < p.M && v < p.N / 4u) { finish((p.startC + row * p.ldc) / 4u + v, v, sum); }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * 256u + local;

  let units = p.N / 4u;
  if (i >= p.M * units) { return; }
  var sum = S[i];
  for (var part = 1u; part < p.parts; part++) { sum += S[part * p.M * units + i]; }
  store(i / units, i % units, sum, 0u);
}
