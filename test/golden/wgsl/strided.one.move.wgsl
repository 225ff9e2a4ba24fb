// a unit a thread
// a CPU: fours=true rank=2 unit=words1
requires immediate_address_space;
struct Params { count: u32, d1: u32, d2: u32, d3: u32, startX: u32, x0: u32, x1: u32, x2: u32, x3: u32, startY: u32, y0: u32, y1: u32, y2: u32, y3: u32, stepX: u32, stepY: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> X: array<u32>;
@group(0) @binding(1) var<storage, read_write> outY: array<u32>;

fn placeOf(i: u32) -> vec2u {
  var rest = i;
  var place = vec2u(p.startX, p.startY);
  let next1 = rest / p.d1;
  place += (rest - next1 * p.d1) * vec2u(p.x1, p.y1);
  rest = next1;
  return place + rest * vec2u(p.x0, p.y0);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * 256u + local;

  if (i >= p.count) { return; }
  let place = placeOf(i); outY[place.y] = X[place.x];
}
