/** Times, sizes and other facts of a run in words. */
import { grouped } from './browser/numbers.js';

/** 3725 → `1 h 2 min`; the two largest units. */
export function duration(seconds: number): string {
  if (seconds < 10) return `${Number(seconds.toFixed(1))} s`;
  const whole = Math.round(seconds);
  const units: readonly [string, number][] = [
    ['d', 86_400],
    ['h', 3600],
    ['min', 60],
    ['s', 1],
  ];
  const first = units.findIndex(([, size]) => whole >= size);
  const parts = units.slice(first, first + 2).map(([name, size], i) => {
    const within = i === 0 ? whole : whole % units[first]![1];
    return { name, value: Math.floor(within / size) };
  });
  return parts
    .filter(({ value }, i) => i === 0 || value > 0)
    .map(({ name, value }) => `${value} ${name}`)
    .join(' ');
}

/** A time of ISO 8601, as people read it; all in UTC, as nobody knows where the page is read. */
export const moment = (iso: string): string =>
  `${new Date(iso)
    .toISOString()
    .replace('T', ' ')
    .replace(/:\d\d\.\d+Z$/, '')} UTC`;

/** `1 step`, `2 steps`. */
export const counted = (count: number, one: string, many = `${one}s`): string =>
  `${grouped(count)} ${count === 1 ? one : many}`;

export function percentOf(part: number, all: number): string {
  if (all === 0 || part === 0) return '0 %';
  const share = (100 * part) / all;
  return share < 0.1 ? 'under 0.1 %' : `${Number(share.toPrecision(share < 1 ? 1 : 3))} %`;
}
