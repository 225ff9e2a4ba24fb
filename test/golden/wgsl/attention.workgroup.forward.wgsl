// works anywhere: tiles of 64 rows by 32, products through 16 KiB of workgroup memory
// a CPU: dropout=false dtype=f32 headDim=32
requires immediate_address_space;
struct Params { stride: u32, hidden4: u32, heads: u32, base: u32, firstTile: u32, firstHead: u32, scale: f32, threshold: u32, keepScale: f32, seed: u32, stream: u32, firstRow: u32, block: u32, minusInfinity: f32, foldShift: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> QKV: array<vec4f>;
@group(0) @binding(1) var<storage, read> tiles: array<vec4u>;
@group(0) @binding(2) var<storage, read_write> outO: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> outL: array<f32>;



fn readQKV(row: u32, end: u32, column: u32, e: u32) -> vec4f {
  if (row >= end || e >= 8u) { return vec4f(); }
  return QKV[row * p.stride + column + e];
}
var<workgroup> own: array<vec4f, 576>;
var<workgroup> other: array<vec4f, 288>;
var<workgroup> scratch: array<vec4f, 128>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let tile = tiles[p.firstTile + group.x];
  let begin = tile.x - p.base; let end = tile.y - p.base; let first = tile.z - p.base;
  let head = group.y;
  let column = head * 8u;
  let ty = lane / 8u;
  let tx = lane % 8u;
  let row = first + 4u * ty;
  let chunks = 15u / p.block;
  // Of the four own rows: the running maximum, and this thread's part of the sum.
  var m = vec4f(-0x1.fffffep+127);
  var l = vec4f();
  var o0_0 = vec4f(); var o1_0 = vec4f(); var o2_0 = vec4f(); var o3_0 = vec4f();
  for (var block = begin; block < end; block += 32u) {
    let mine = block + 4u * tx;
    let real = vec4u(mine) + vec4u(0u, 1u, 2u, 3u) < vec4u(end);
    var s0 = vec4f(); var s1 = vec4f(); var s2 = vec4f(); var s3 = vec4f();
    for (var c = 0u; c < chunks; c++) {
    for (var i = lane; i < 512u; i += 128u) {
      let n = i / 8u;
      own[n * 9u + i % 8u] = readQKV(first + n, end, column, c * 8u + i % 8u) * (p.scale * 1.4426950408889634);
    }
    for (var i = lane; i < 256u; i += 128u) {
      let n = i / 8u;
      other[((n % 4u) * 8u + n / 4u) * 9u + i % 8u] = readQKV(block + n, end, p.hidden4 + column, c * 8u + i % 8u);
    }
    workgroupBarrier();
    for (var e = 0u; e < p.block; e++) {
      let b0 = other[(0u + tx) * 9u + e]; let b1 = other[(8u + tx) * 9u + e]; let b2 = other[(16u + tx) * 9u + e]; let b3 = other[(24u + tx) * 9u + e];
      { let a = own[(4u * ty + 0u) * 9u + e]; s0 += vec4f(dot(a, b0), dot(a, b1), dot(a, b2), dot(a, b3)); }
      { let a = own[(4u * ty + 1u) * 9u + e]; s1 += vec4f(dot(a, b0), dot(a, b1), dot(a, b2), dot(a, b3)); }
      { let a = own[(4u * ty + 2u) * 9u + e]; s2 += vec4f(dot(a, b0), dot(a, b1), dot(a, b2), dot(a, b3)); }
      { let a = own[(4u * ty + 3u) * 9u + e]; s3 += vec4f(dot(a, b0), dot(a, b1), dot(a, b2), dot(a, b3)); }
    }
    workgroupBarrier();
    }
    s0 = select(vec4f(p.minusInfinity), s0, real); s1 = select(vec4f(p.minusInfinity), s1, real); s2 = select(vec4f(p.minusInfinity), s2, real); s3 = select(vec4f(p.minusInfinity), s3, real);
    scratch[lane] = vec4f(max(max(s0.x, s0.y), max(s0.z, s0.w)), max(max(s1.x, s1.y), max(s1.z, s1.w)), max(max(s2.x, s2.y), max(s2.z, s2.w)), max(max(s3.x, s3.y), max(s3.z, s3.w)));
    workgroupBarrier();
    var top = m;
    for (var i = 0u; i < p.block; i++) { top = max(top, scratch[ty * 8u + i]); }
    let shrink = exp2(m - top);
    m = top;
    s0 = exp2(s0 - top[0]); s1 = exp2(s1 - top[1]); s2 = exp2(s2 - top[2]); s3 = exp2(s3 - top[3]);
    l = l * shrink + vec4f(dot(s0, vec4f(1.0)), dot(s1, vec4f(1.0)), dot(s2, vec4f(1.0)), dot(s3, vec4f(1.0)));
    o0_0 *= shrink[0]; o1_0 *= shrink[1]; o2_0 *= shrink[2]; o3_0 *= shrink[3];
    
    own[(0u + tx) * 17u + ty] = vec4f(s0.x, s1.x, s2.x, s3.x); own[(8u + tx) * 17u + ty] = vec4f(s0.y, s1.y, s2.y, s3.y); own[(16u + tx) * 17u + ty] = vec4f(s0.z, s1.z, s2.z, s3.z); own[(24u + tx) * 17u + ty] = vec4f(s0.w, s1.w, s2.w, s3.w);
    {
    let c = 0u;
    for (var i = lane; i < 256u; i += 128u) {
      let n = i / 8u;
      other[((n % 4u) * 8u + n / 4u) * 9u + i % 8u] = readQKV(block + n, end, 2u * p.hidden4 + column, c * 8u + i % 8u);
    }
    workgroupBarrier();
    for (var n = 0u; n < 4u * p.block; n++) {
      let weight = own[n * 17u + ty];
      let b = other[n * 9u + tx];
      o0_0 = fma(vec4f(weight[0]), b, o0_0);
      o1_0 = fma(vec4f(weight[1]), b, o1_0);
      o2_0 = fma(vec4f(weight[2]), b, o2_0);
      o3_0 = fma(vec4f(weight[3]), b, o3_0);
    }
    workgroupBarrier();
    }
  }
  scratch[lane] = l;
  workgroupBarrier();
  l = vec4f();
  for (var i = 0u; i < p.block; i++) { l += scratch[ty * 8u + i]; }
  if (row + 0u < end) {
    outO[(row + 0u) * p.hidden4 + column + 0u + tx] = o0_0 / select(l[0], 1.0, l[0] == 0.0); if (tx == 0u) { outL[(row + 0u) * p.heads + head] = select(m[0] + log2(l[0]), -p.minusInfinity, l[0] == 0.0); }
  }
  if (row + 1u < end) {
    outO[(row + 1u) * p.hidden4 + column + 0u + tx] = o1_0 / select(l[1], 1.0, l[1] == 0.0); if (tx == 0u) { outL[(row + 1u) * p.heads + head] = select(m[1] + log2(l[1]), -p.minusInfinity, l[1] == 0.0); }
  }
  if (row + 2u < end) {
    outO[(row + 2u) * p.hidden4 + column + 0u + tx] = o2_0 / select(l[2], 1.0, l[2] == 0.0); if (tx == 0u) { outL[(row + 2u) * p.heads + head] = select(m[2] + log2(l[2]), -p.minusInfinity, l[2] == 0.0); }
  }
  if (row + 3u < end) {
    outO[(row + 3u) * p.hidden4 + column + 0u + tx] = o3_0 / select(l[3], 1.0, l[3] == 0.0); if (tx == 0u) { outL[(row + 3u) * p.heads + head] = select(m[3] + log2(l[3]), -p.minusInfinity, l[3] == 0.0); }
  }
}
