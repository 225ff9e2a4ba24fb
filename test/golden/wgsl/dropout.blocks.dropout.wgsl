// a thread a block of random bits, which serves eight values
// a CPU: dtype=f32
requires immediate_address_space;
struct Params { count: u32, blocks: u32, first: u32, threshold: u32, scale: f32, seed: u32, stream: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> X: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> outY: array<vec4f>;

fn rotate(x: u32, n: u32) -> u32 { return (x << n) | (x >> (32u - n)); }
fn threefry(key: vec4u, counter: vec4u) -> vec4u {
  var k = array<u32, 5>(key.x, key.y, key.z, key.w, 0x1BD11BDAu ^ key.x ^ key.y ^ key.z ^ key.w);
  var x = counter + key;
  // Five groups of four rounds, a key injection after each; the rotations repeat after eight rounds.
  for (var g = 0u; g < 5u; g++) {
    let odd = (g & 1u) == 1u;
    x.x += x.y; x.y = rotate(x.y, select(10u, 6u, odd)) ^ x.x; x.z += x.w; x.w = rotate(x.w, select(26u, 20u, odd)) ^ x.z;
    x.x += x.w; x.w = rotate(x.w, select(11u, 17u, odd)) ^ x.x; x.z += x.y; x.y = rotate(x.y, select(21u, 11u, odd)) ^ x.z;
    x.x += x.y; x.y = rotate(x.y, select(13u, 25u, odd)) ^ x.x; x.z += x.w; x.w = rotate(x.w, select(27u, 10u, odd)) ^ x.z;
    x.x += x.w; x.w = rotate(x.w, select(23u, 18u, odd)) ^ x.x; x.z += x.y; x.y = rotate(x.y, select(5u, 20u, odd)) ^ x.z;
    let i = g + 1u;
    x += vec4u(k[i % 5u], k[(i + 1u) % 5u], k[(i + 2u) % 5u], k[(i + 3u) % 5u]);
    x.w += i;
  }
  return x;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * 256u + local;

  if (i >= p.blocks) { return; }
  let bits = threefry(vec4u(p.seed, p.stream, 0u, 0u), vec4u(p.first / 2u + i, 0u, 0u, 0u));
  let low = bits & vec4u(0xffffu);
  let high = bits >> vec4u(16u);
  // The block's two groups of four; a tensor that begins at an odd group has no first half of its first block.
  let odd = p.first & 1u;
  if (2u * i >= odd && 2u * i - odd < p.count) { let u = 2u * i - odd; outY[u] = X[u] * select(vec4f(), vec4f(p.scale), low >= vec4u(p.threshold)); }
  if (2u * i + 1u - odd < p.count) { let u = 2u * i + 1u - odd; outY[u] = X[u] * select(vec4f(), vec4f(p.scale), high >= vec4u(p.threshold)); }
}
