// lavapipe of Mesa 26 on processors that gather fast (Intel, AVX-512): panels in storage buffers, 48 rows a tile
// a CPU: a=f16 b=f32 c=f16 gelu=false transA=false transB=true
requires immediate_address_space;
alias Half2 = u32;
alias Half4 = vec2u;
alias Half8 = vec4u;
fn unpackHalves(v: vec2u) -> vec4f { return vec4f(unpack2x16float(v.x), unpack2x16float(v.y)); }
fn packHalves(v: vec4f) -> vec2u {
  // Signed integers: below 2^31 they compare alike, and CPUs have no other comparison in vectors.
  let bits = bitcast<vec4i>(v);
  let size = bits & vec4i(0x7fffffff);
  // Rebias the exponent and round away 13 bits of mantissa, ties to even; a carry walks into the exponent.
  let normal = (size + (vec4i(0xfff - 0x38000000) + ((size >> vec4u(13u)) & vec4i(1)))) >> vec4u(13u);
  // Below 2^-14: units of 2^-24, which are those of numbers from 0.5 on.
  let small = bitcast<vec4i>(bitcast<vec4f>(size) + 0.5) - vec4i(0x3f000000);
  // From 65520 on: infinity; and what is no number stays none.
  let large = select(vec4i(0x7c00), vec4i(0x7e00), size > vec4i(0x7f800000));
  let half = select(select(normal, small, size < vec4i(0x38800000)), large, size >= vec4i(0x477ff000));
  let h = bitcast<vec4u>(half | ((bits >> vec4u(16u)) & vec4i(0x8000)));
  return vec2u(h.x | (h.y << 16u), h.z | (h.w << 16u));
}
struct Params { rows: u32, K: u32, stride: u32, start: u32, units: u32, panels: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> X: array<Half4>;
@group(0) @binding(1) var<storage, read_write> outPanels: array<vec4f>;
fn fours(at: u32, column: u32) -> vec4f { return unpackHalves(X[at / 4u]); }
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
