/** How numbers are written, in the page and by its script: short, and by what they count. */

export type NumberKind = 'number' | 'share' | 'tokens' | 'whole';

/** At most four digits, with an exponent where that is shorter. */
export function shortNumber(value: number): string {
  if (value === 0) return '0';
  const size = Math.abs(value);
  return size >= 1e7 || size < 1e-3 ? withExponent(value) : String(Number(value.toPrecision(4)));
}

function withExponent(value: number): string {
  const [digits, exponent] = value.toExponential(2).split('e');
  return `${Number(digits)}e${Number(exponent)}`;
}

/** 12345678 → 12.3M; whole numbers below a million keep their digits, in groups of three. */
export function countNumber(value: number): string {
  if (Math.abs(value) < 1e6) return grouped(Math.round(value));
  const [unit, size] = Math.abs(value) < 1e9 ? ['M', 1e6] : Math.abs(value) < 1e12 ? ['G', 1e9] : ['T', 1e12];
  return `${Number((value / size).toPrecision(4))}${unit}`;
}

/** Without a space before the digits and with commas between each three of them, wherever the page is read. */
export function grouped(value: number): string {
  const [whole, ...rest] = String(value).split('.');
  return [whole!.replace(/\B(?=(\d{3})+$)/g, ','), ...rest].join('.');
}

/** Of the lines of one axis: where all are small each has an exponent, so that they compare. */
export function tickTexts(ticks: readonly (number | null)[], kind: NumberKind): (string | null)[] {
  const most = Math.max(...ticks.map((tick) => Math.abs(tick ?? 0)));
  return ticks.map((tick) => {
    if (tick === null) return null;
    if (kind === 'tokens' || (kind === 'whole' && Number.isInteger(tick))) return numberText(tick, kind);
    return most < 1e-2 && tick !== 0 ? withExponent(tick) : shortNumber(tick);
  });
}

export function numberText(value: number, kind: NumberKind): string {
  switch (kind) {
    case 'share':
      return value.toFixed(4);
    case 'tokens':
      return `${countNumber(value)}/s`;
    case 'whole':
      return countNumber(value);
    default:
      return shortNumber(value);
  }
}
