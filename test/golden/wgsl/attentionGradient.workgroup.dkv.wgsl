// works anywhere: tiles of 64 rows by 32, products through 16 KiB of workgroup memory
// a CPU: dropout=false dtype=f32 headDim=32
requires immediate_address_space;
struct Params { stride: u32, hidden4: u32, heads: u32, base: u32, firstTile: u32, firstHead: u32, scale: f32, threshold: u32, keepScale: f32, seed: u32, stream: u32, firstRow: u32, block: u32, minusInfinity: f32, foldShift: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> QKV: array<vec4f>;
@group(0) @binding(1) var<storage, read> tiles: array<vec4u>;
@group(0) @binding(2) var<storage, read> DO: array<vec4f>;
@group(0) @binding(3) var<storage, read> L: array<f32>;
@group(0) @binding(4) var<storage, read> delta: array<f32>;
@group(0) @binding(5) var<storage, read_write> outD: array<vec4f>;



fn readQKV(row: u32, end: u32, column: u32, e: u32) -> vec4f {
  if (row >= end || e >= 8u) { return vec4f(); }
  return QKV[row * p.stride + column + e];
}
fn readDO(row: u32, end: u32, column: u32, e: u32) -> vec4f {
  if (row >= end || e >= 8u) { return vec4f(); }
  return DO[row * p.hidden4 + column + e];
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
  var dk0_0 = vec4f(); var dk1_0 = vec4f(); var dk2_0 = vec4f(); var dk3_0 = vec4f();
  var dv0_0 = vec4f(); var dv1_0 = vec4f(); var dv2_0 = vec4f(); var dv3_0 = vec4f();
  for (var block = begin; block < end; block += 32u) {
    let mine = block + 4u * tx;
    let real = vec4u(mine) + vec4u(0u, 1u, 2u, 3u) < vec4u(end);
    let lse = vec4f(L[min(mine + 0u, end - 1u) * p.heads + head], L[min(mine + 1u, end - 1u) * p.heads + head], L[min(mine + 2u, end - 1u) * p.heads + head], L[min(mine + 3u, end - 1u) * p.heads + head]);
    let rowDelta = vec4f(delta[min(mine + 0u, end - 1u) * p.heads + head], delta[min(mine + 1u, end - 1u) * p.heads + head], delta[min(mine + 2u, end - 1u) * p.heads + head], delta[min(mine + 3u, end - 1u) * p.heads + head]);
    var s0 = vec4f(); var s1 = vec4f(); var s2 = vec4f(); var s3 = vec4f();
    for (var c = 0u; c < chunks; c++) {
    for (var i = lane; i < 512u; i += 128u) {
      let n = i / 8u;
      own[n * 9u + i % 8u] = readQKV(first + n, end, p.hidden4 + column, c * 8u + i % 8u) * (p.scale * 1.4426950408889634);
    }
    for (var i = lane; i < 256u; i += 128u) {
      let n = i / 8u;
      other[((n % 4u) * 8u + n / 4u) * 9u + i % 8u] = readQKV(block + n, end, column, c * 8u + i % 8u);
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
    var dp0 = vec4f(); var dp1 = vec4f(); var dp2 = vec4f(); var dp3 = vec4f();
    for (var c = 0u; c < chunks; c++) {
    for (var i = lane; i < 512u; i += 128u) {
      let n = i / 8u;
      own[n * 9u + i % 8u] = readQKV(first + n, end, 2u * p.hidden4 + column, c * 8u + i % 8u);
    }
    for (var i = lane; i < 256u; i += 128u) {
      let n = i / 8u;
      other[((n % 4u) * 8u + n / 4u) * 9u + i % 8u] = readDO(block + n, end, column, c * 8u + i % 8u);
    }
    workgroupBarrier();
    for (var e = 0u; e < p.block; e++) {
      let b0 = other[(0u + tx) * 9u + e]; let b1 = other[(8u + tx) * 9u + e]; let b2 = other[(16u + tx) * 9u + e]; let b3 = other[(24u + tx) * 9u + e];
      { let a = own[(4u * ty + 0u) * 9u + e]; dp0 += vec4f(dot(a, b0), dot(a, b1), dot(a, b2), dot(a, b3)); }
      { let a = own[(4u * ty + 1u) * 9u + e]; dp1 += vec4f(dot(a, b0), dot(a, b1), dot(a, b2), dot(a, b3)); }
      { let a = own[(4u * ty + 2u) * 9u + e]; dp2 += vec4f(dot(a, b0), dot(a, b1), dot(a, b2), dot(a, b3)); }
      { let a = own[(4u * ty + 3u) * 9u + e]; dp3 += vec4f(dot(a, b0), dot(a, b1), dot(a, b2), dot(a, b3)); }
    }
    workgroupBarrier();
    }
    
    s0 = select(vec4f(), exp2(s0 - lse), real);
    dp0 = s0 * (dp0 - rowDelta) * p.scale;
    
    s1 = select(vec4f(), exp2(s1 - lse), real);
    dp1 = s1 * (dp1 - rowDelta) * p.scale;
    
    s2 = select(vec4f(), exp2(s2 - lse), real);
    dp2 = s2 * (dp2 - rowDelta) * p.scale;
    
    s3 = select(vec4f(), exp2(s3 - lse), real);
    dp3 = s3 * (dp3 - rowDelta) * p.scale;
    
    own[(0u + tx) * 17u + ty] = vec4f(s0.x, s1.x, s2.x, s3.x); own[(8u + tx) * 17u + ty] = vec4f(s0.y, s1.y, s2.y, s3.y); own[(16u + tx) * 17u + ty] = vec4f(s0.z, s1.z, s2.z, s3.z); own[(24u + tx) * 17u + ty] = vec4f(s0.w, s1.w, s2.w, s3.w);
    {
    let c = 0u;
    for (var i = lane; i < 256u; i += 128u) {
      let n = i / 8u;
      other[((n % 4u) * 8u + n / 4u) * 9u + i % 8u] = readDO(block + n, end, column, c * 8u + i % 8u);
    }
    workgroupBarrier();
    for (var n = 0u; n < 4u * p.block; n++) {
      let weight = own[n * 17u + ty];
      let b = other[n * 9u + tx];
      dv0_0 = fma(vec4f(weight[0]), b, dv0_0);
      dv1_0 = fma(vec4f(weight[1]), b, dv1_0);
      dv2_0 = fma(vec4f(weight[2]), b, dv2_0);
      dv3_0 = fma(vec4f(weight[3]), b, dv3_0);
    }
    workgroupBarrier();
    }
    own[(0u + tx) * 17u + ty] = vec4f(dp0.x, dp1.x, dp2.x, dp3.x); own[(8u + tx) * 17u + ty] = vec4f(dp0.y, dp1.y, dp2.y, dp3.y); own[(16u + tx) * 17u + ty] = vec4f(dp0.z, dp1.z, dp2.z, dp3.z); own[(24u + tx) * 17u + ty] = vec4f(dp0.w, dp1.w, dp2.w, dp3.w);
    {
    let c = 0u;
    for (var i = lane; i < 256u; i += 128u) {
      let n = i / 8u;
      other[((n % 4u) * 8u + n / 4u) * 9u + i % 8u] = readQKV(block + n, end, column, c * 8u + i % 8u);
    }
    workgroupBarrier();
    for (var n = 0u; n < 4u * p.block; n++) {
      let weight = own[n * 17u + ty];
      let b = other[n * 9u + tx];
      dk0_0 = fma(vec4f(weight[0]), b, dk0_0);
      dk1_0 = fma(vec4f(weight[1]), b, dk1_0);
      dk2_0 = fma(vec4f(weight[2]), b, dk2_0);
      dk3_0 = fma(vec4f(weight[3]), b, dk3_0);
    }
    workgroupBarrier();
    }
  }
  if (row + 0u < end) {
    outD[(row + 0u) * p.stride + p.hidden4 + column + 0u + tx] = dk0_0; 
  }
  if (row + 1u < end) {
    outD[(row + 1u) * p.stride + p.hidden4 + column + 0u + tx] = dk1_0; 
  }
  if (row + 2u < end) {
    outD[(row + 2u) * p.stride + p.hidden4 + column + 0u + tx] = dk2_0; 
  }
  if (row + 3u < end) {
    outD[(row + 3u) * p.stride + p.hidden4 + column + 0u + tx] = dk3_0; 
  }
  if (row + 0u < end) {
    outD[(row + 0u) * p.stride + 2u * p.hidden4 + column + 0u + tx] = dv0_0; 
  }
  if (row + 1u < end) {
    outD[(row + 1u) * p.stride + 2u * p.hidden4 + column + 0u + tx] = dv1_0; 
  }
  if (row + 2u < end) {
    outD[(row + 2u) * p.stride + 2u * p.hidden4 + column + 0u + tx] = dv2_0; 
  }
  if (row + 3u < end) {
    outD[(row + 3u) * p.stride + 2u * p.hidden4 + column + 0u + tx] = dv3_0; 
  }
}
