// a group of four values a thread, neighbours side by side: what GPUs coalesce
// a CPU: dtype=f32 op=neg part=value
requires immediate_address_space;
struct Params { count: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> in_x: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> outY: array<vec4f>;

alias T = vec4f;
alias Bits = vec4u;
alias Ints = vec4i;
alias Truth = vec4<bool>;
fn isNan(x: T) -> Truth { return (bitcast<Bits>(x) & Bits(0x7fffffffu)) > Bits(0x7f800000u); }
fn isZero(x: T) -> Truth { return (bitcast<Bits>(x) & Bits(0x7fffffffu)) == Bits(); }
// From just below -0 to -inf: the NaNs with a sign lie beyond.
fn isNegative(x: T) -> Truth { return (bitcast<Bits>(x) - Bits(0x80000001u)) < Bits(0x7f800000u); }
fn nanOf(x: T) -> T { return bitcast<T>(bitcast<Bits>(x) | Bits(0x7fc00000u)); }
fn maxOf(a: T, b: T) -> T { return select(select(max(a, b), b, isNan(b)), a, isNan(a)); }
fn expOf(x: T) -> T {
  // x = k·ln 2 + r with |r| ≤ ln 2 / 2, and ln 2 in two parts whose first times k is exact.
  let k = round(clamp(x, T(-110.0), T(90.0)) * 1.4426950408889634);
  let r = (clamp(x, T(-110.0), T(90.0)) - k * 0.693359375) + k * 0.00021219444170128554;
  let p = 1.0 + (r + r * r * ((((0.001395871862769127 * r + 0.008366772904992104) * r + 0.04166610166430473) * r + 0.16666539013385773) * r + 0.5));
  // 2^k in two factors, since 2^128 is no f32.
  let half = Ints(k) >> Bits(1u);
  let y = p * bitcast<T>((half + Ints(127)) << Bits(23u)) * bitcast<T>((Ints(k) - half + Ints(127)) << Bits(23u));
  return select(y, x, isNan(x));
}
fn logOf(x: T) -> T {
  let bits = bitcast<Bits>(x);
  // A subnormal's bits are its value in units of 2^-149.
  let tiny = bits < Bits(0x00800000u);
  let m = select(bits, bitcast<Bits>(T(bits)), tiny);
  // x = 2^e·(1 + f) with 1 + f in [√½, √2), and log(1 + f) = 2·artanh(s).
  let e = bitcast<Ints>(m - Bits(0x3f3504f3u)) >> Bits(23u);
  let f = bitcast<T>(m - (bitcast<Bits>(e) << Bits(23u))) - 1.0;
  let s = f / (f + 2.0);
  let z = s * s;
  let r = s * (2.0 + z * (((0.23538687825202942 * z + 0.28539666533470154) * z + 0.40000295639038086) * z + 0.6666666865348816));
  let k = T(e) - select(T(), T(149.0), tiny);
  let y = k * 0.693359375 + (r - k * 0.00021219444170128554);
  let positive = select(y, x, bits >= Bits(0x7f800000u));
  // The bits of -inf for either zero, of a NaN for what is negative.
  return select(positive, bitcast<T>(bits | select(Bits(0x7fc00000u), Bits(0xff800000u), isZero(x))), isNegative(x) | isZero(x));
}
fn tanhOf(x: T) -> T {
  let a = abs(x);
  let t = a * a;
  let near = x * (1.0 + t * ((((-0.005786409601569176 * t + 0.02071426808834076) * t - 0.053763795644044876) * t + 0.1333175003528595) * t - 0.33333295583724976));
  let far = 1.0 - 2.0 / (expOf(2.0 * min(a, T(10.0))) + 1.0);
  let y = select(bitcast<T>(bitcast<Bits>(far) | (bitcast<Bits>(x) & Bits(0x80000000u))), near, a < T(0.625));
  return select(y, x, isNan(x));
}
// x·P(x²)/Q(x²) on |x| ≤ 3.92, where f32 rounds erf to 1. Beyond, the quotient stays and x grows, so the clamp gives
// exactly ±1, as 1 + erf(x) = 0 needs. A NaN may become ±1: every caller multiplies by x too.
fn erf(x: T) -> T {
  let t = min(x * x, T(15.3664));
  let p = ((((2.0500369828369003e-06 * t + 0.00028488293173722923) * t + 0.003765721805393696) * t + 0.05274903401732445) * t + 0.19040918350219727) * t + 1.1283791065216064;
  let q = ((((3.80912097170949e-05 * t + 0.001162557047791779) * t + 0.01496942713856697) * t + 0.11411019414663315) * t + 0.5020784735679626) * t + 1.0;
  return clamp(x * p / q, T(-1.0), T(1.0));
}
fn tanhInner(x: T) -> T { return tanhOf(0.7978845608028654 * (x + 0.044715 * x * x * x)); }
fn geluTanhSlope(x: T) -> T {
  let t = tanhInner(x);
  return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * (0.7978845608028654 * (1.0 + 0.134145 * (x * x)));
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * 256u + local;

  if (i >= p.count) { return; }
  let x = in_x[i];
  outY[i] = -x;
}
