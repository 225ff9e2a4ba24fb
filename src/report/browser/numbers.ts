/** How numbers are written, in the page and by its script: short, and by what they count. */

export type NumberKind = 'number' | 'share' | 'tokens' | 'whole';

/** At most four digits, with an exponent where that is shorter. */
export function shortNumber(value: number): string {
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size >= 1e7 || size < 1e-3) {
    const [digits, exponent] = value.toExponential(2).split('e');
    return `${Number(digits)}e${Number(exponent)}`;
  }
  return String(Number(value.toPrecision(4)));
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
