/** Progress for people: one line in so many columns, the more important the longer it stays when there is little room. */
import type { Phase, Work } from '../progress.js';
import { formatBytes, messageLine } from '../show.js';
import { cutTo, widthOf } from './columns.js';
import type { Pace } from './pace.js';

const WORDS: Record<Phase, string> = {
  download: 'downloading',
  read: 'reading',
  load: 'loading',
  plan: 'planning memory',
  tune: 'tuning',
  compile: 'compiling',
  train: 'training',
  evaluate: 'evaluating',
  save: 'saving',
  encode: 'encoding',
  index: 'indexing',
  search: 'searching',
  score: 'scoring',
  mine: 'mining',
  split: 'splitting',
  check: 'looking at this machine',
  install: 'installing',
  measure: 'measuring',
};

/** What is written where a terminal shows more than ASCII, and elsewhere. */
export interface Glyphs {
  readonly between: string;
  readonly full: string;
  readonly empty: string;
  readonly more: string;
}

export const UNICODE: Glyphs = { between: ' · ', full: '█', empty: '░', more: '…' };
export const ASCII: Glyphs = { between: ', ', full: '#', empty: '-', more: '...' };

/** Columns of the bar itself. */
const SHORTEST_BAR = 8;
const LONGEST_BAR = 30;

/** Of a step that takes so long it is said which one it is and for how long. */
const LONG_STEP_SECONDS = 30;

/** A part of the line; `keep`: what is left out first has the highest. */
interface Part {
  readonly text: string;
  readonly keep: number;
}

/** The bar makes way before a loss does, and after the rate. */
const BAR: Part = { text: '', keep: 4 };

/** What is to be told of a piece of work. */
export interface Told {
  readonly work: Work;
  readonly pace: Pace;
  /** Seconds of the pace's clock. */
  readonly began: number;
  /** When there was news of it; undefined: just now. */
  readonly heard?: number | undefined;
  readonly now: number;
}

/** @param bar whether it has one: not in a file, where lines follow each other. */
export function progressLine(
  told: Told,
  columns = Number.POSITIVE_INFINITY,
  glyphs = UNICODE,
  bar = true,
): string {
  const { work, pace, began, heard = told.now, now } = told;
  const { done, total, unit, loss, memoryBytes, subject } = work;
  const bytes = unit === 'bytes';
  const number = (value: number) => (bytes ? formatBytes(value) : value.toLocaleString('en'));
  const counted = `${number(done)}${total === undefined ? '' : `/${number(total)}`}${bytes ? '' : ` ${(total ?? done) === 1 ? singular(unit) : unit}`}`;
  // Of some work there is no more to say than that it goes on.
  const head = total === undefined && done === 0 ? WORDS[work.phase] : `${WORDS[work.phase]} ${counted}`;
  const share = total === undefined || total === 0 ? undefined : Math.min(1, done / total);
  const { rate, tokensPerSecond } = pace;
  const left = total === undefined || work.ended ? undefined : pace.secondsLeft(now, total - done);
  const parts: (Part | undefined)[] = [
    share === undefined ? undefined : { text: `${Math.floor(100 * share)}%`, keep: 2 },
    loss === undefined ? undefined : { text: `loss ${loss.toFixed(4)}`, keep: 3 },
    rate === undefined ? undefined : { text: rateText(rate, unit), keep: 5 },
    tokensPerSecond === undefined ? undefined : { text: `${compact(tokensPerSecond)} tokens/s`, keep: 6 },
    memoryBytes === undefined ? undefined : { text: `${formatBytes(memoryBytes)} held`, keep: 7 },
    subject === undefined ? undefined : { text: messageLine(subject), keep: 8 },
    work.phase !== 'train' || work.ended || done === total || now - heard < LONG_STEP_SECONDS
      ? undefined
      : { text: `step ${number(done + 1)} under way for ${duration(now - heard)}`, keep: 8 },
    { text: duration(now - began), keep: left === undefined ? 1 : 9 },
    left === undefined ? undefined : { text: `${duration(left)} left`, keep: 1 },
  ];
  const given = parts.filter((part) => part !== undefined);
  const between = widthOf(glyphs.between);
  let room = columns - widthOf(head);
  const kept = new Set<Part>();
  // What stands behind what does not fit may fit, but then a number would come and go with the width of another.
  let barWidth = 0;
  const wanted = bar && share !== undefined ? [...given, BAR] : given;
  for (const part of [...wanted].sort((a, b) => a.keep - b.keep)) {
    const width = part === BAR ? SHORTEST_BAR + 1 : widthOf(part.text) + between;
    if (width > room) break;
    if (part === BAR) barWidth = SHORTEST_BAR;
    else kept.add(part);
    room -= width;
  }
  if (barWidth > 0) barWidth += Math.min(LONGEST_BAR - SHORTEST_BAR, Number.isFinite(room) ? room : 0);
  const filled = Math.floor(barWidth * (share ?? 0));
  const drawn = barWidth > 0 ? ` ${glyphs.full.repeat(filled)}${glyphs.empty.repeat(barWidth - filled)}` : '';
  const tail = given.filter((part) => kept.has(part)).map(({ text }) => text);
  // The share stands beside its bar.
  const joined = [drawn && share !== undefined ? `${drawn} ${tail.shift()}` : '', ...tail];
  return cutTo(
    `${head}${joined.filter((part, i) => i === 0 || part).join(glyphs.between)}`,
    columns,
    glyphs.more,
  );
}

/** Of slow work the time that one takes. */
function rateText(rate: number, unit: Work['unit']): string {
  if (unit === 'bytes') return `${formatBytes(Math.round(rate))}/s`;
  if (rate < 1) return `${three(1 / rate)} s a ${singular(unit)}`;
  return `${three(rate)} ${unit}/s`;
}

const SINGULAR: Partial<Record<Work['unit'], string>> = { batches: 'batch', queries: 'query' };
const singular = (unit: Work['unit']) => SINGULAR[unit] ?? unit.replace(/s$/, '');

const three = (value: number) => Number(value.toPrecision(3)).toLocaleString('en');

function compact(value: number): string {
  return value >= 1e6 ? `${three(value / 1e6)}M` : value >= 1e3 ? `${three(value / 1e3)}k` : three(value);
}

/** `0:05`, `12:30`, `1:02:03`, `3 d 04:05`. */
export function duration(seconds: number): string {
  const whole = Math.round(seconds);
  const two = (value: number) => String(Math.floor(value)).padStart(2, '0');
  const [minutes, hours] = [Math.floor(whole / 60), Math.floor(whole / 3600)];
  if (hours >= 24) return `${Math.floor(hours / 24)} d ${two(hours % 24)}:${two(minutes % 60)}`;
  return hours > 0 ? `${hours}:${two(minutes % 60)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}
