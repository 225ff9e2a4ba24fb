// 256 threads a row, which agree through workgroup memory
// a CPU: columns=1 part=finish
requires immediate_address_space;
struct Params { rows: u32, k: u32, capacity: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read_write> ioKeys: array<u32>;
@group(0) @binding(1) var<storage, read_write> ioIndex: array<u32>;
@group(0) @binding(2) var<storage, read_write> ioState: array<vec2u>;
@group(0) @binding(3) var<storage, read_write> outV: array<f32>;
@group(0) @binding(4) var<storage, read_write> outI: array<u32>;
const LANES = 256u;

fn rank(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  let size = bits & 0x7fffffffu;
  return select(select(size | 0x80000000u, 0x80000000u - size, bits > 0x7fffffffu), 0xffffffffu, size > 0x7f800000u);
}
fn unrank(rank: u32) -> f32 {
  return bitcast<f32>(select((0x80000000u - rank) | 0x80000000u, rank & 0x7fffffffu, rank > 0x7fffffffu));
}

var<workgroup> gathered: atomic<u32>;
var<workgroup> shared_: u32;
fn settle() { storageBarrier(); workgroupBarrier(); }
fn begin(v: u32, lane: u32) {
  if (lane == 0u) { atomicStore(&gathered, v); }
  workgroupBarrier();
}
fn agreed(lane: u32) -> u32 {
  workgroupBarrier();
  if (lane == 0u) { shared_ = atomicLoad(&gathered); }
  return workgroupUniformLoad(&shared_);
}
fn same(v: u32, lane: u32) -> u32 {
  if (lane == 0u) { shared_ = v; }
  return workgroupUniformLoad(&shared_);
}
fn total(v: u32, lane: u32) -> u32 {
  begin(0u, lane);
  if (v != 0u) { atomicAdd(&gathered, v); }
  return agreed(lane);
}
fn least(v: u32, lane: u32) -> u32 {
  begin(0xffffffffu, lane);
  atomicMin(&gathered, v);
  return agreed(lane);
}
fn most(v: u32, lane: u32) -> u32 {
  begin(0u, lane);
  atomicMax(&gathered, v);
  return agreed(lane);
}
fn anyOf(passes: bool, lane: u32) -> bool { return total(select(0u, 1u, passes), lane) != 0u; }
fn slotOf(passes: bool, lane: u32) -> u32 {
  begin(0u, lane);
  if (passes) { return atomicAdd(&gathered, 1u); }
  return 0u;
}
fn slots(passes: bool, lane: u32) -> u32 { return agreed(lane); }
// The rank of -inf.
const LOWEST = 0x00800000u;
@diagnostic(off, subgroup_uniformity)
fn cut(base: u32, n: u32, k: u32, slack: u32, lane: u32) -> vec2u {
  var low = 0xffffffffu;
  var high = 0u;
  for (var i = lane; i < n; i += LANES) { let key = ioKeys[base + i]; low = min(low, key); high = max(high, key); }
  // The largest rank that at least k entries have, or one below it that few more have, lies from floor_ to below beyond.
  var floor_ = least(low, lane);
  var beyond = most(high, lane) + 1u;
  var reached = n;
  for (var step = 0u; reached > k + slack && beyond - floor_ > 1u; step++) {
    // Halves the scores, among which entries are spread, and every other time the ranks, of which there are 2^32.
    var tried = floor_ + (beyond - floor_) / 2u;
    let middle = rank(0.5 * unrank(floor_) + 0.5 * unrank(beyond - 1u));
    if (step % 2u == 0u && middle > floor_ && middle < beyond) { tried = middle; }
    var own = 0u;
    for (var i = lane; i < n; i += LANES) {
      let key = ioKeys[base + i];
      if (key >= tried) { own++; }
    }
    let found = total(own, lane);
    if (found >= k) { floor_ = tried; reached = found; } else { beyond = tried; }
  }
  // Of equal scores at the cut as many stay as there is room for: up to this index.
  var last = 0xffffffffu;
  if (reached > k + slack) {
    var above = 0u;
    {
      var own = 0u;
    for (var i = lane; i < n; i += LANES) {
      let key = ioKeys[base + i];
      if (key > floor_) { own++; }
    }
    let found = total(own, lane);
      above = found;
    }
    last = 0u;
    var bit = 31u;
    loop {
      let tried = last | (1u << bit);
      var own = 0u;
    for (var i = lane; i < n; i += LANES) {
      let key = ioKeys[base + i];
      if (key == floor_ && ioIndex[base + i] < tried) { own++; }
    }
    let found = total(own, lane);
      if (above + found < k) { last = tried; }
      if (bit == 0u) { break; }
      bit--;
    }
  }
  var kept = 0u;
  for (var start = 0u; start < n; start += LANES) {
    let i = min(start + lane, n - 1u);
    let key = ioKeys[base + i];
    let index = ioIndex[base + i];
    let stays = start + lane < n && (key > floor_ || (key == floor_ && index <= last));
    let slot = kept + slotOf(stays, lane);
    kept += slots(stays, lane);
    // Never beyond what was read: all threads have read up to here.
    if (stays) { ioKeys[base + slot] = key; ioIndex[base + slot] = index; }
  }
  settle();
  return vec2u(kept, floor_);
}
// Puts the better of two entries first.
fn order(a: u32, b: u32) {
  let keyA = ioKeys[a];
  let keyB = ioKeys[b];
  let indexA = ioIndex[a];
  let indexB = ioIndex[b];
  if (keyB > keyA || (keyB == keyA && indexB < indexA)) {
    ioKeys[a] = keyB; ioIndex[a] = indexB;
    ioKeys[b] = keyA; ioIndex[b] = indexA;
  }
}
@diagnostic(off, subgroup_uniformity)
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= p.rows) { return; }
  let base = row * p.capacity;
  var n = same(ioState[row].x, lane);
  var floor_ = same(ioState[row].y, lane);
  if (n > p.k) {
    let left = cut(base, n, p.k, 0u, lane);
    n = left.x;
    floor_ = left.y;
  }
  // A bitonic network that never moves what lies beyond n, as if the worst of all lay there: its first step of each
  // size compares from both ends.
  let pairs = 1u << (31u - countLeadingZeros(max(n, 2u) - 1u));
  for (var size = 2u; size < 2u * n; size <<= 1u) {
    for (var half = size >> 1u; half > 0u; half >>= 1u) {
      let ends = half == size >> 1u;
      for (var t = lane; t < pairs; t += LANES) {
        let low = t & (half - 1u);
        let block = (t - low) << 1u;
        let a = block + low;
        let b = select(a + half, block + size - 1u - low, ends);
        if (b < n) { order(base + a, base + b); }
      }
      settle();
    }
  }
  for (var i = lane; i < p.k; i += LANES) {
    let there = i < n;
    outV[row * p.k + i] = select(unrank(LOWEST), unrank(ioKeys[base + min(i, p.capacity - 1u)]), there);
    outI[row * p.k + i] = select(0xffffffffu, ioIndex[base + min(i, p.capacity - 1u)], there);
  }
  if (lane == 0u) { ioState[row] = vec2u(n, floor_); }
}
