// 8 lanes a row, which reduce in their subgroup: where barriers are dear, as on lavapipe
// a CPU: part=gradient
enable subgroups;
requires immediate_address_space;
struct Params { rows: u32, cols: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> I: array<u32>;
@group(0) @binding(1) var<storage, read> DY: array<f32>;
@group(0) @binding(2) var<storage, read_write> outX: array<f32>;

const LANES = 8u;

fn rowSum(v: f32, lane: u32) -> f32 { return subgroupAdd(v); }
fn rowMax(v: u32, lane: u32) -> u32 { return subgroupMax(v); }
@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= p.rows) { return; }

  for (var c = lane; c < p.cols; c += LANES) { outX[row * p.cols + c] = select(0.0, DY[row], I[row] == c); }
}
