// on CPUs, for halves: 256 bytes of each row by 8 threads, twice as fast; f32 streams as well without
// a CPU: dtype=f32 of=sum width=4
requires immediate_address_space;
struct Params { first: u32, end: u32, length: u32, units: u32, groups: u32, chunk: u32, chunks: u32, scale: f32, baseX: u32, baseY: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> X: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> outY: array<vec4<f32>>;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = group.y * groups.x + group.x;
  let own = p.first + index / p.groups;
  if (own >= p.end) { return; }
  let column = (index % p.groups) * 16u + lane;
  let c0 = min(column + 0u, p.units - 1u); var sum0 = vec4<f32>(); let c1 = min(column + 8u, p.units - 1u); var sum1 = vec4<f32>();
  // Where windows begin is taken off modulo 2³².
  let base = (own / p.chunks) * p.length * p.units - p.baseX;
  let start = (own % p.chunks) * p.chunk;
  let end = min(p.length, start + p.chunk);
  for (var r = start; r < end; r += 16u) {
    var chain0 = vec4<f32>(); var chain1 = vec4<f32>();
    for (var row = r; row < min(end, r + 16u); row++) {
      let at = base + row * p.units;
      chain0 += X[at + c0]; chain1 += X[at + c1];
    }
    sum0 += chain0; sum1 += chain1;
  }
  let out = own * p.units - p.baseY;
  outY[out + c0] = sum0 * p.scale; outY[out + c1] = sum1 * p.scale;
}
