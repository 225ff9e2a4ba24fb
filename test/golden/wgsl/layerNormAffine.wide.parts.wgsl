// on CPUs: 256 bytes of each row by 8 threads, which stream better and share the loads of statistics
// a CPU: columns=1 outer=f32 own=f32
requires immediate_address_space;
struct Params { rows: u32, units: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> DY: array<f32>;
@group(0) @binding(1) var<storage, read> S: array<f32>;
@group(0) @binding(2) var<storage, read> stats: array<vec2f>;
@group(0) @binding(3) var<storage, read_write> outP: array<f32>;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  if (p.units == 0u) { return; }
    let c0 = min((group.x * 2u + 0u) * 8u + lane, p.units - 1u); var gamma0 = f32(); var beta0 = f32();
    let c1 = min((group.x * 2u + 1u) * 8u + lane, p.units - 1u); var gamma1 = f32(); var beta1 = f32();
  let end = min(p.rows, (group.y + 1u) * 64u);
  for (var row = group.y * 64u; row < end; row++) {
    let base = row * p.units;
    let own = stats[row];
    { let dy = DY[base + c0]; beta0 += dy; gamma0 += dy * ((S[base + c0] - own.x) * own.y); }
    { let dy = DY[base + c1]; beta1 += dy; gamma1 += dy * ((S[base + c1] - own.x) * own.y); }
  }
  let out = 2u * group.y * p.units;
    outP[out + c0] = gamma0; outP[out + p.units + c0] = beta0;
    outP[out + c1] = gamma1; outP[out + p.units + c1] = beta1;
}
