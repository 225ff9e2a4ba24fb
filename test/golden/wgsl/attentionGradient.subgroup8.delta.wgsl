// lavapipe: 8 lanes hand rows round by themselves, and loads from textures cost a fraction of those from buffers
// a CPU: dropout=false dtype=f16 headDim=20
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
struct Params { count: u32, d4: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> O: array<Half4>;
@group(0) @binding(1) var<storage, read> DO: array<Half4>;
@group(0) @binding(2) var<storage, read_write> outD: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * 256u + local;

  if (i >= p.count) { return; }
  let base = i * p.d4;
  var sum = 0.0;
  for (var e = 0u; e < p.d4; e++) { sum += dot(unpackHalves(O[base + e]), unpackHalves(DO[base + e])); }
  outD[i] = sum;
}
