// lavapipe with 16 vector registers (AVX2): products of a column are added as a tree, so that its sums stay in registers
// a CPU: a=f16 b=f32 c=f16 gelu=false transA=false transB=true
requires immediate_address_space;
struct Params { rows: u32, K: u32, stride: u32, start: u32, units: u32, panels: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> X: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> outPanels: array<vec4f>;
fn fours(at: u32, column: u32) -> vec4f { return X[at / 4u]; }
// A thread a unit: the lanes of a panel are neighbours.
fn part(row: u32, k: u32) -> vec4f {
  if (k >= p.K) { return vec4f(); }
  return fours(p.start + row * p.stride + k, k);
}
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= p.units * 8u) { return; }
  let row = min(id.y * 8u + id.x % 8u, p.rows - 1u);
  let k = (id.x / 8u) * 4u;
  outPanels[id.y * p.units * 8u + id.x] = part(row, k);
}
