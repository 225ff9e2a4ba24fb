/**
 * WGSL functions that formulas name, beside those of elementary.ts, which every kernel over floats has: a kernel has of
 * these only what its formula names. What they promise is tested over all of f32 (test/extremes.test.ts): a few units in
 * the last place, infinities and NaN as IEEE 754 has them. Exact steps rest on products of 12-bit halves, which are exact
 * whether or not a driver fuses them with the sums that follow.
 */

/** Over `T`, `Bits`, `Ints` and `Truth` of elementary.ts. */
const floats: Readonly<Record<string, string>> = {
  areNumbers: 'fn areNumbers(a: T, b: T) -> Truth { return !(isNan(a) | isNan(b)); }',
  isFinite:
    'fn isFinite(x: T) -> Truth { return (bitcast<Bits>(x) & Bits(0x7fffffffu)) < Bits(0x7f800000u); }',
  isInf: 'fn isInf(x: T) -> Truth { return (bitcast<Bits>(x) & Bits(0x7fffffffu)) == Bits(0x7f800000u); }',
  minOf: 'fn minOf(a: T, b: T) -> T { return select(select(min(a, b), b, isNan(b)), a, isNan(a)); }',
  signOf:
    'fn signOf(x: T) -> T { return select(T(), select(T(1.0), T(-1.0), isNegative(x)), !(isZero(x) | isNan(x))); }',
  // The built-in ones may lose the sign of a zero, and need not know NaN.
  stepOf: `fn stepOf(x: T, to: T) -> T {
  let whole = !((bitcast<Bits>(x) & Bits(0x7fffffffu)) < Bits(0x4b000000u)) | isZero(x);
  return select(bitcast<T>(bitcast<Bits>(to) | (bitcast<Bits>(x) & Bits(0x80000000u))), x, whole);
}`,
  sigmoidOf: 'fn sigmoidOf(x: T) -> T { return 1.0 / (1.0 + expOf(-x)); }',
  withSign:
    'fn withSign(size: T, x: T) -> T { return bitcast<T>((bitcast<Bits>(size) & Bits(0x7fffffffu)) | (bitcast<Bits>(x) & Bits(0x80000000u))); }',
  // x = k + r, and 2^r as in expOf: exact for whole x.
  exp2Of: `fn exp2Of(x: T) -> T {
  let c = clamp(x, T(-160.0), T(130.0));
  let k = round(c);
  let r = (c - k) * 0.6931471805599453;
  let p = 1.0 + (r + r * r * ((((0.001395871862769127 * r + 0.008366772904992104) * r + 0.04166610166430473) * r + 0.16666539013385773) * r + 0.5));
  let half = Ints(k) >> Bits(1u);
  let y = p * bitcast<T>((half + Ints(127)) << Bits(23u)) * bitcast<T>((Ints(k) - half + Ints(127)) << Bits(23u));
  return select(y, x, isNan(x));
}`,
  // x = k·ln 2 + r as in expOf, and eˣ − 1 = 2^k·(e^r − 1) + (2^k − 1).
  expm1Of: `fn expm1Of(x: T) -> T {
  let c = clamp(x, T(-18.0), T(18.0));
  let k = round(c * 1.4426950408889634);
  let r = (c - k * 0.693359375) + k * 0.00021219444170128554;
  let q = r + r * r * ((((0.001395871862769127 * r + 0.008366772904992104) * r + 0.04166610166430473) * r + 0.16666539013385773) * r + 0.5);
  let s = bitcast<T>((Ints(k) + Ints(127)) << Bits(23u));
  let y = select(s * q + (s - 1.0), expOf(x), x > T(17.0));
  return select(y, x, isNan(x) | (abs(x) < T(5.9604645e-8)));
}`,
  // Near 0 as logOf with its 1 + f; elsewhere what 1 + x rounds away is made up for.
  log1pOf: `fn log1pOf(x: T) -> T {
  let s = x / (2.0 + x);
  let z = s * s;
  let near = s * (2.0 + z * (((0.23538687825202942 * z + 0.28539666533470154) * z + 0.40000295639038086) * z + 0.6666666865348816));
  let u = 1.0 + x;
  let far = logOf(u) + select(T(), (x - (u - 1.0)) / u, (u > T()) & (x < T(1e10)));
  let y = select(far, near, (x > T(-0.29)) & (x < T(0.41)));
  return select(y, x, isZero(x));
}`,
  softplusOf: 'fn softplusOf(x: T) -> T { return maxOf(x, T()) + log1pOf(expOf(-abs(x))); }',
  logAddExpOf: `fn logAddExpOf(a: T, b: T) -> T {
  let top = maxOf(a, b);
  let y = top + log1pOf(expOf(-abs(a - b)));
  // ∞ − ∞ is no number.
  return select(y, top, (bitcast<Bits>(top) & Bits(0x7fffffffu)) >= Bits(0x7f800000u));
}`,
  mishSlope: 'fn mishSlope(x: T, t: T) -> T { return t + x * sigmoidOf(x) * (1.0 - t * t); }',
  // From e^|x| − 1, which is good near 0; where e^|x| overflows, from the square of its root.
  sinhOf: `fn sinhOf(x: T) -> T {
  let a = abs(x);
  let e = expm1Of(min(a, T(80.0)));
  let h = expOf(0.5 * a);
  let y = select(0.5 * (e + e / (e + 1.0)), (0.5 * h) * h, a > T(80.0));
  return select(withSign(y, x), x, isNan(x) | (a < T(1e-4)));
}`,
  coshOf: `fn coshOf(x: T) -> T {
  let a = abs(x);
  let e = expOf(min(a, T(80.0)));
  let h = expOf(0.5 * a);
  return select(select(0.5 * (e + 1.0 / e), (0.5 * h) * h, a > T(80.0)), x, isNan(x));
}`,
  asinhOf: `fn asinhOf(x: T) -> T {
  let a = min(abs(x), T(4096.0));
  let near = log1pOf(a + a * a / (1.0 + sqrt(1.0 + a * a)));
  let y = select(near, logOf(abs(x)) + 0.6931471805599453, abs(x) > T(4096.0));
  return select(withSign(y, x), x, isNan(x) | isZero(x));
}`,
  acoshOf: `fn acoshOf(x: T) -> T {
  let t = clamp(x, T(1.0), T(4096.0)) - 1.0;
  let near = log1pOf(t + sqrt(t * (t + 2.0)));
  let y = select(near, logOf(x) + 0.6931471805599453, x > T(4096.0));
  return select(y, nanOf(x), isNan(x) | (x < T(1.0)));
}`,
  atanhOf: `fn atanhOf(x: T) -> T {
  let a = abs(x);
  let t = a + a;
  let y = 0.5 * log1pOf(select(t / (1.0 - a), t + t * a / (1.0 - a), a < T(0.5)));
  return select(select(withSign(y, x), x, isZero(x)), nanOf(x), isNan(x) | (a > T(1.0)));
}`,
  // Of 0 to 1: beyond tan(π/8) from π/4, where the polynomial begins again.
  arcOf: `fn arcOf(a: T) -> T {
  let far = a > T(0.41421356);
  let x = select(a, (a - 1.0) / (a + 1.0), far);
  let z = x * x;
  let y = x + x * z * ((((-0.0609063096344471 * z + 0.10599428415298462) * z - 0.14244426786899567) * z + 0.1999852955341339) * z - 0.33333316445350647);
  return select(y, 0.7853981633974483 + y, far);
}`,
  atanOf: `fn atanOf(x: T) -> T {
  let a = abs(x);
  let far = a > T(1.0);
  let y = arcOf(select(a, 1.0 / a, far));
  return select(withSign(select(y, 1.5707963267948966 - y, far), x), x, isNan(x));
}`,
  // Of 0 to 1/2.
  asinNear: `fn asinNear(x: T) -> T {
  let z = x * x;
  return x + x * z * ((((0.04221051186323166 * z + 0.024152815341949463) * z + 0.04547591134905815) * z + 0.07495252788066864) * z + 0.16666753590106964);
}`,
  asinOf: `fn asinOf(x: T) -> T {
  let a = abs(x);
  let far = a > T(0.5);
  let y = asinNear(select(a, sqrt(0.5 - 0.5 * min(a, T(1.0))), far));
  return select(withSign(select(y, 1.5707963267948966 - 2.0 * y, far), x), nanOf(x), isNan(x) | (a > T(1.0)));
}`,
  acosOf: `fn acosOf(x: T) -> T {
  let a = abs(x);
  let far = a > T(0.5);
  let part = asinNear(select(a, sqrt(0.5 - 0.5 * min(a, T(1.0))), far));
  // π/2 and π in two parts, of which the first is an f32.
  let near = 1.5707963705062866 - (withSign(part, x) + 4.371139e-8);
  let y = select(near, select(2.0 * part, 3.1415927410125732 - (2.0 * part + 8.742278e-8), isNegative(x)), far);
  return select(y, nanOf(x), isNan(x) | (a > T(1.0)));
}`,
  atan2Of: `fn atan2Of(a: T, b: T) -> T {
  let u = abs(a);
  let v = abs(b);
  let top = max(u, v);
  let endless = (bitcast<Bits>(u) == Bits(0x7f800000u)) & (bitcast<Bits>(v) == Bits(0x7f800000u));
  let ratio = select(select(min(u, v) / top, T(1.0), endless), T(), isZero(top));
  let part = arcOf(ratio);
  let turned = select(part, 1.5707963267948966 - part, u > v);
  let y = select(turned, 3.1415927410125732 - (turned + 8.742278e-8), (bitcast<Bits>(b) & Bits(0x80000000u)) != Bits());
  return select(withSign(y, a), nanOf(a), isNan(a) | isNan(b));
}`,
  // part/(a² + b²), of numbers whose squares may overflow.
  atan2Slope: `fn atan2Slope(part: T, a: T, b: T) -> T {
  let top = max(abs(a), abs(b));
  let u = a / top;
  let v = b / top;
  let y = (part / top) / (u * u + v * v) / top;
  // As PyTorch's, where the angle has no slope.
  return select(y, T(), (isZero(a) & isZero(b)) | ((isInf(a) | isInf(b)) & areNumbers(a, b) & !isInf(part)));
}`,
  hypotOf: `fn hypotOf(a: T, b: T) -> T {
  let u = abs(a);
  let v = abs(b);
  let top = max(u, v);
  let r = min(u, v) / top;
  let endless = bitcast<Bits>(u) == Bits(0x7f800000u);
  let y = select(select(top * sqrt(1.0 + r * r), T(), isZero(u) & isZero(v)), nanOf(a), isNan(a) | isNan(b));
  // With an infinite side it is infinite, whatever the other is.
  return select(y, select(v, u, endless), endless | (bitcast<Bits>(v) == Bits(0x7f800000u)));
}`,
  // As logOf: x = 2^e·(1 + f), and log(1 + f) = part.
  LogParts: `struct LogParts { e: T, part: T, other: Truth }
fn logParts(x: T) -> LogParts {
  let bits = bitcast<Bits>(x);
  let tiny = bits < Bits(0x00800000u);
  let m = select(bits, bitcast<Bits>(T(bits)), tiny);
  let e = bitcast<Ints>(m - Bits(0x3f3504f3u)) >> Bits(23u);
  let f = bitcast<T>(m - (bitcast<Bits>(e) << Bits(23u))) - 1.0;
  let s = f / (f + 2.0);
  let z = s * s;
  let r = s * (2.0 + z * (((0.23538687825202942 * z + 0.28539666533470154) * z + 0.40000295639038086) * z + 0.6666666865348816));
  return LogParts(T(e) - select(T(), T(149.0), tiny), r, (bits >= Bits(0x7f800000u)) | isZero(x));
}`,
  log2Of: `fn log2Of(x: T) -> T {
  let parts = logParts(x);
  return select(parts.e + parts.part * 1.4426950408889634, logOf(x), parts.other);
}`,
  log10Of: `fn log10Of(x: T) -> T {
  let parts = logParts(x);
  let y = parts.e * 0.30078125 + (parts.e * 0.00024874566588550806 + parts.part * 0.4342944819032518);
  return select(y, logOf(x), parts.other);
}`,
  highOf: 'fn highOf(x: T) -> T { return bitcast<T>(bitcast<Bits>(x) & Bits(0xfffff000u)); }',
  powOf: `fn powOf(a: T, b: T) -> T {
  let size = bitcast<Bits>(a) & Bits(0x7fffffffu);
  let tiny = size < Bits(0x00800000u);
  let m = select(size, bitcast<Bits>(T(size)), tiny);
  let e = bitcast<Ints>(m - Bits(0x3f3504f3u)) >> Bits(23u);
  let f = bitcast<T>(m - (bitcast<Bits>(e) << Bits(23u)));
  // s = (f − 1)/(f + 1) in two parts, and log f = (2/3)·s·(3 + s² + …), also in two.
  let u = f - 1.0;
  let v = 1.0 / (f + 1.0);
  let s = u * v;
  let sHigh = highOf(s);
  let dHigh = highOf(f + 1.0);
  let sLow = v * ((u - sHigh * dHigh) - sHigh * (f - (dHigh - 1.0)));
  let z = s * s;
  let r = z * z * ((0.35140499472618103 * z + 0.4282011389732361) * z + 0.6000023484230042) + sLow * (sHigh + s);
  let square = sHigh * sHigh;
  let tHigh = highOf(3.0 + square + r);
  let tLow = r - ((tHigh - 3.0) - square);
  let product = sHigh * tHigh;
  let rest = sLow * tHigh + tLow * s;
  let pHigh = highOf(product + rest);
  let pLow = rest - (pHigh - product);
  // log2 |a| in two parts, with 2/(3·ln 2) in two.
  let lHigh = 0.961669921875 * pHigh;
  let lLow = 0.00012677205086220056 * pHigh + pLow * 0.9617966939259756;
  let n = T(e) - select(T(), T(149.0), tiny);
  let log = highOf((lHigh + lLow) + n);
  let logLow = lLow - ((log - n) - lHigh);
  // b times that, and its power of 2.
  let bHigh = highOf(b);
  let low = (b - bHigh) * log + b * logLow;
  let high = bHigh * log;
  let k = round(clamp(high + low, T(-160.0), T(130.0)));
  let x = clamp((high - k) + low, T(-1.0), T(1.0)) * 0.6931471805599453;
  let p = 1.0 + (x + x * x * ((((0.001395871862769127 * x + 0.008366772904992104) * x + 0.04166610166430473) * x + 0.16666539013385773) * x + 0.5));
  let half = Ints(k) >> Bits(1u);
  let y = p * bitcast<T>((half + Ints(127)) << Bits(23u)) * bitcast<T>((Ints(k) - half + Ints(127)) << Bits(23u));
  // Zeros and infinities, of a and of b.
  let power = bitcast<Bits>(b) & Bits(0x7fffffffu);
  let grows = (size > Bits(0x3f800000u)) == !isNegative(b);
  let limit = bitcast<T>(select(Bits(), Bits(0x7f800000u), grows));
  let one = size == Bits(0x3f800000u);
  let most = select(y, limit, (isZero(a) | (size == Bits(0x7f800000u)) | (power == Bits(0x7f800000u))) & !one);
  // Of what is negative: a sign for odd b, and no number for what is not whole.
  let negative = bitcast<Bits>(a) > Bits(0x7fffffffu);
  let whole = (power >= Bits(0x4b000000u)) | (b == trunc(b));
  let odd = whole & (power < Bits(0x4b800000u)) & ((Ints(clamp(b, T(-16777216.0), T(16777216.0))) & Ints(1)) == Ints(1));
  let signed = bitcast<T>(bitcast<Bits>(select(most, T(1.0), one)) | select(Bits(), Bits(0x80000000u), negative & odd));
  let noNumber = negative & !whole & !isZero(a) & (size != Bits(0x7f800000u));
  let number = select(signed, nanOf(signed), isNan(a) | isNan(b) | noNumber);
  return select(number, T(1.0), isZero(b) | (bitcast<Bits>(a) == Bits(0x3f800000u)));
}`,
  // The product's upper word, from its 16-bit parts.
  upperProduct: `fn upperProduct(a: Bits, b: Bits) -> Bits {
  let low = (a & Bits(0xffffu)) * (b & Bits(0xffffu));
  let left = (a >> Bits(16u)) * (b & Bits(0xffffu)) + (low >> Bits(16u));
  let right = (a & Bits(0xffffu)) * (b >> Bits(16u)) + (left & Bits(0xffffu));
  return (a >> Bits(16u)) * (b >> Bits(16u)) + (left >> Bits(16u)) + (right >> Bits(16u));
}`,
  // Payne & Hanek 1983: x/(2π) modulo 1 in whole numbers, from those 96 bits of 1/(2π) that x's exponent asks for; so
  // every finite x is reduced with the same relative error. angle + quadrant·π/2 is x up to whole turns.
  Angle: `fn ofFive(n: Bits, a: Bits, b: Bits, c: Bits, d: Bits, e: Bits) -> Bits {
  return select(select(select(select(e, d, n == Bits(3u)), c, n == Bits(2u)), b, n == Bits(1u)), a, n == Bits());
}
struct Angle { angle: T, quadrant: Bits }
fn angleOf(x: T) -> Angle {
  let size = bitcast<Bits>(x) & Bits(0x7fffffffu);
  let m = (size << Bits(8u)) | Bits(0x80000000u);
  let e = max(size >> Bits(23u), Bits(126u)) - Bits(126u);
  let word = e >> Bits(5u);
  let shift = e & Bits(31u);
  let w0 = ofFive(word, Bits(), Bits(0x28be60dbu), Bits(0x9391054au), Bits(0x7f09d5f4u), Bits(0x7d4d3770u));
  let w1 = ofFive(word, Bits(0x28be60dbu), Bits(0x9391054au), Bits(0x7f09d5f4u), Bits(0x7d4d3770u), Bits(0x36d8a566u));
  let w2 = ofFive(word, Bits(0x9391054au), Bits(0x7f09d5f4u), Bits(0x7d4d3770u), Bits(0x36d8a566u), Bits(0x4f10e410u));
  let w3 = ofFive(word, Bits(0x7f09d5f4u), Bits(0x7d4d3770u), Bits(0x36d8a566u), Bits(0x4f10e410u), Bits(0x7f9458eau));
  let up = Bits(31u) - shift;
  let high = (w0 << shift) | ((w1 >> Bits(1u)) >> up);
  let middle = (w1 << shift) | ((w2 >> Bits(1u)) >> up);
  let low = (w2 << shift) | ((w3 >> Bits(1u)) >> up);
  // 64 bits of the fraction of a turn, of which the first two are the quadrant, to the nearest.
  let carried = upperProduct(m, low);
  let lower = m * middle + carried;
  let upper = m * high + upperProduct(m, middle) + select(Bits(), Bits(1u), lower < carried);
  let moved = upper + Bits(0x20000000u);
  let signed = (moved & Bits(0x3fffffffu)) - Bits(0x20000000u);
  let back = signed > Bits(0x7fffffffu);
  let top = select(signed, ~signed + select(Bits(), Bits(1u), lower == Bits()), back);
  let bottom = select(lower, ~lower + Bits(1u), back);
  // Their size, with 31 bits from the highest that is set.
  let far = top == Bits();
  let a = select(top, bottom, far);
  let b = select(bottom, Bits(), far);
  let zeros = min(countLeadingZeros(a), Bits(31u));
  let digits = ((a << zeros) | ((b >> Bits(1u)) >> (Bits(31u) - zeros))) >> Bits(1u);
  let scale = bitcast<T>((Bits(96u) - zeros - select(Bits(), Bits(32u), far)) << Bits(23u));
  let angle = T(Ints(digits)) * 6.283185307179586 * scale;
  let negative = bitcast<Bits>(x) > Bits(0x7fffffffu);
  let near = size < Bits(0x3f490fdbu);
  let quadrant = moved >> Bits(30u);
  return Angle(
    select(select(angle, -angle, back != negative), x, near),
    select(select(quadrant, Bits() - quadrant, negative), Bits(), near),
  );
}
fn sineOf(r: T) -> T {
  let z = r * r;
  return select(r + r * z * ((-0.0001951878803083673 * z + 0.008332191966474056) * z - 0.16666655242443085), r, z < T(1e-8));
}
fn cosineOf(r: T) -> T {
  let z = r * r;
  return 1.0 - (0.5 * z - z * z * ((2.443297125864774e-05 * z - 0.0013887312961742282) * z + 0.04166664555668831));
}
fn sineAt(x: T, quarter: u32) -> T {
  let parts = angleOf(x);
  let quadrant = parts.quadrant + Bits(quarter);
  let y = select(sineOf(parts.angle), cosineOf(parts.angle), (quadrant & Bits(1u)) == Bits(1u));
  let signed = select(y, -y, (quadrant & Bits(2u)) == Bits(2u));
  return select(signed, nanOf(x), (bitcast<Bits>(x) & Bits(0x7fffffffu)) >= Bits(0x7f800000u));
}`,
  sinOf: 'fn sinOf(x: T) -> T { return sineAt(x, 0u); }',
  cosOf: 'fn cosOf(x: T) -> T { return sineAt(x, 1u); }',
  tanOf: `fn tanOf(x: T) -> T {
  let parts = angleOf(x);
  let s = sineOf(parts.angle);
  let c = cosineOf(parts.angle);
  let turned = (parts.quadrant & Bits(1u)) == Bits(1u);
  let y = select(s, -c, turned) / select(c, s, turned);
  return select(select(y, x, isZero(x)), nanOf(x), (bitcast<Bits>(x) & Bits(0x7fffffffu)) >= Bits(0x7f800000u));
}`,
  // Of mantissas, eight bits of the quotient at a time: exact, however large the quotient is.
  fmodOf: `fn fmodOf(a: T, b: T) -> T {
  let sizeA = bitcast<Bits>(a) & Bits(0x7fffffffu);
  let sizeB = bitcast<Bits>(b) & Bits(0x7fffffffu);
  let eA = max(sizeA >> Bits(23u), Bits(1u));
  let eB = max(sizeB >> Bits(23u), Bits(1u));
  let mB = (sizeB & Bits(0x7fffffu)) | select(Bits(0x800000u), Bits(), sizeB < Bits(0x800000u));
  var m = ((sizeA & Bits(0x7fffffu)) | select(Bits(0x800000u), Bits(), sizeA < Bits(0x800000u))) % mB;
  var left = select(Bits(), eA - eB, eA > eB);
  for (var step = 0u; step < 32u; step++) {
    if (all(left == Bits())) { break; }
    let bits = min(left, Bits(8u));
    m = (m << bits) % mB;
    left -= bits;
  }
  let smaller = select(T(m) * 1.1920928955078125e-7 * bitcast<T>(eB << Bits(23u)), abs(a), eA < eB);
  let r = bitcast<T>(bitcast<Bits>(smaller) | (bitcast<Bits>(a) & Bits(0x80000000u)));
  return select(r, nanOf(r), isZero(b) | (sizeA >= Bits(0x7f800000u)) | isNan(b));
}`,
  remainderOf: `fn remainderOf(a: T, b: T) -> T {
  let r = fmodOf(a, b);
  let other = (bitcast<Bits>(a) ^ bitcast<Bits>(b)) > Bits(0x7fffffffu);
  return select(r, r + b, other & !isZero(r) & !isNan(r));
}`,
  // a/b cut towards zero, of which fmodOf is what is left.
  truncQuotient: `fn truncQuotient(a: T, b: T) -> T {
  let r = fmodOf(a, b);
  return select(round((a - r) / b), a / b, isNan(r));
}`,
  // ⌊a/b⌋, of which remainderOf is what is left.
  floorQuotient: `fn floorQuotient(a: T, b: T) -> T {
  let r = remainderOf(a, b);
  let whole = round((a - r) / b);
  let endless = (bitcast<Bits>(b) & Bits(0x7fffffffu)) == Bits(0x7f800000u);
  let past = select(T(), T(-1.0), (bitcast<Bits>(r) & Bits(0x7fffffffu)) == Bits(0x7f800000u));
  return select(select(whole, select(past, r, isNan(r)), endless), a / b, isZero(b));
}`,
  floorDivideOf: `fn floorDivideOf(a: T, b: T) -> T {
  let q = floorQuotient(a, b);
  return select(q, withSign(q, a / b), isZero(q));
}`,
};

/** Over `T`, a vector of i32 or u32: arithmetic wraps, a division by 0 gives the dividend and leaves 0. */
const integers: Readonly<Record<string, string>> = {
  signOf: 'fn signOf(x: T) -> T { return select(T(), T(1), x > T()) - select(T(), T(1), x < T()); }',
  remainderOf: `fn remainderOf(a: T, b: T) -> T {
  let r = a % b;
  return select(r, r + b, (r != T()) & ((r < T()) != (b < T())));
}`,
  floorDivideOf: `fn floorDivideOf(a: T, b: T) -> T {
  let r = a % b;
  return a / b - select(T(), T(1), (r != T()) & ((r < T()) != (b < T())));
}`,
  // By squares; of a negative exponent what is whole is left, of 1 and −1 alone more than 0.
  powOf: `fn powOf(a: T, b: T) -> T {
  var y = T(1);
  var base = a;
  var left = vec4u(b);
  for (var bit = 0u; bit < 32u; bit++) {
    if (all(left == vec4u())) { break; }
    y = select(y, y * base, (left & vec4u(1u)) == vec4u(1u));
    base *= base;
    left >>= vec4u(1u);
  }
  let ofOne = select(a * a, a, (b & T(1)) == T(1));
  return select(y, select(T(), ofOne, (a == T(1)) | (a + T(1) == T())), b < T());
}`,
  // The language takes a distance modulo 32.
  leftShiftOf:
    'fn leftShiftOf(a: T, b: T) -> T { return select(a << (vec4u(b) & vec4u(31u)), T(), vec4u(b) > vec4u(31u)); }',
  rightShiftOf: `fn rightShiftOf(a: T, b: T) -> T {
  return select(a >> (vec4u(b) & vec4u(31u)), (a >> vec4u(31u)) >> vec4u(1u), vec4u(b) > vec4u(31u));
}`,
};

/** WGSL: of these functions those that a formula names, and what they name in turn. */
export function functionsOf(formula: string, dtype: 'floats' | 'integers'): string {
  const library = dtype === 'floats' ? floats : integers;
  const found = new Set<string>();
  const visit = (text: string): void => {
    for (const [name, body] of Object.entries(library)) {
      const names = [name, ...[...body.matchAll(/fn (\w+)/g)].map(([, fn]) => fn!)];
      if (found.has(name) || !names.some((each) => new RegExp(`\\b${each}\\(`).test(text))) continue;
      found.add(name);
      visit(body);
    }
  };
  visit(formula);
  return Object.keys(library)
    .filter((name) => found.has(name))
    .map((name) => `${library[name]!}\n`)
    .join('');
}
