/**
 * How kernels name the two sides of attention, their own rows and the others that these see, by form: query, key and value
 * side by side in the rows of one tensor, whose sequences are the same on both sides; or in tensors of their own, whose
 * tiles say which rows of the other side belong to theirs. The arithmetic of the emitters is the same for both.
 *
 * Apart, a tile is four vec4u (`spans.ts` writes them): own (begin, end, first, sequence); other (begin, end, query heads
 * that share a key head, rows from one of their heads to the next or 0 where heads lie side by side in a row); bias (first
 * element, and the steps to the next head, query and key).
 */
import type { ParamType } from '../launch/shader.js';
import type { AttentionForm, Part } from './form.js';
import { entry, KEY, PARAMS, PARAMS_APART, QUERY, VALUE } from './layout.js';

/** WGSL: a buffer, the vec4s from one of its rows to the next, and the first of the head's in a row. */
export interface Place {
  readonly buffer: string;
  readonly stride: string;
  readonly column: string;
}

export interface Sides {
  /** What is read. */
  readonly Q: Place;
  readonly K: Place;
  readonly V: Place;
  readonly DO: Place;
  /** What is written. */
  readonly O: Place;
  readonly dQ: Place;
  readonly dK: Place;
  readonly dV: Place;
  /** What is read, each buffer once, with the vec4s from row to row. */
  readonly sources: readonly Pick<Place, 'buffer' | 'stride'>[];
  /** The other side's rows are [from, to). */
  readonly from: string;
  readonly to: string;
  /** Entry of the kernel: the tile's own rows, its head, and where that lies. */
  entry(threads: number, laneOf: string, more?: string): string;
  /** Heads of a row of queries. */
  readonly heads: string;
  /** Around the walk over the other side: once, or in dK/dV for each of the query heads that share the key's. */
  readonly open: string;
  readonly close: string;
  /** The first of the other rows that an own row may see, and the end of those that one of `rows` own rows may see. */
  first(): string;
  last(rows: number): string;
  /** A further condition, ` && …` or nothing, that rows `own` and `other` of the operands see each other. */
  sees(own: string, other: string): string;
  /** The bias of both, which must exist. */
  biasAt(own: string, other: string): string;
  /** Of a query's row: the log-sum-exp, and Σ out·dOut. */
  lse(row: string): string;
  delta(row: string): string;
}

/**
 * WGSL: what the result is divided by, and the log-sum-exp, of a running maximum and sum. A query that sees no key, or whose
 * scores are all −∞, has the result 0 and passes nothing back.
 */
export const divisor = (sum: string): string => `select(${sum}, 1.0, ${sum} == 0.0)`;
export const logSum = (top: string, sum: string): string =>
  `select(${top} + log2(${sum}), -p.minusInfinity, ${sum} == 0.0)`;

export const paramsOf = ({ apart }: AttentionForm): Readonly<Record<string, ParamType>> =>
  apart ? PARAMS_APART : PARAMS;

/** The names of both sides in the kernel of a part. */
export function sidesOf(form: AttentionForm, part: Part): Sides {
  const { apart, causal, headDim } = form;
  const d4 = headDim / 4;
  const keysOwn = part === 'dkv';
  const [from, to] = apart ? ['otherBegin', 'otherEnd'] : ['begin', 'end'];
  const queries = keysOwn ? from : 'begin';
  const keys = keysOwn ? 'begin' : from;
  // Of causal attention: what is added to a key's place and to a query's before they are compared.
  const [ownCount, otherCount] = ['(end - begin)', `(${to} - ${from})`];
  const shifted = causal === 'lower-right';
  const keyShift = shifted ? ` + ${keysOwn ? otherCount : ownCount}` : '';
  const queryShift = shifted ? ` + ${keysOwn ? ownCount : otherCount}` : '';
  const pair = (own: string, other: string) => (keysOwn ? [other, own] : [own, other]) as [string, string];
  const shared = {
    from,
    to,
    first() {
      if (!causal || !keysOwn) return from;
      // Blocks begin at multiples of 8, as random numbers are drawn for pairs of queries.
      return shifted
        ? `${from} + ((max(first - begin${keyShift}, ${ownCount}) - ${ownCount}) & 0xfffffff8u)`
        : `${from} + first - begin`;
    },
    last(rows: number) {
      if (!causal || keysOwn) return to;
      return shifted
        ? `min(${to}, ${from} + max(first - begin + ${rows}u${queryShift}, ${ownCount}) - ${ownCount})`
        : `min(${to}, ${from} + first - begin + ${rows}u)`;
    },
    sees(own: string, other: string) {
      const [query, key] = pair(own, other);
      return causal ? ` && ${key} - ${keys}${keyShift} <= ${query} - ${queries}${queryShift}` : '';
    },
    biasAt(own: string, other: string) {
      const [query, key] = pair(own, other);
      return `Bias[bias + (${query} - ${queries}) * place.z + (${key} - ${keys}) * place.w]`;
    },
  };
  if (!apart) {
    const of = (buffer: string, stride: string, column: string): Place => ({ buffer, stride, column });
    return {
      ...shared,
      Q: of('QKV', 'p.stride', QUERY),
      K: of('QKV', 'p.stride', KEY),
      V: of('QKV', 'p.stride', VALUE),
      DO: of('DO', 'p.hidden4', 'column'),
      O: of('outO', 'p.hidden4', 'column'),
      dQ: of('outD', 'p.stride', QUERY),
      dK: of('outD', 'p.stride', KEY),
      dV: of('outD', 'p.stride', VALUE),
      sources: [
        { buffer: 'QKV', stride: 'p.stride' },
        ...(part === 'forward' ? [] : [{ buffer: 'DO', stride: 'p.hidden4' }]),
      ],
      entry: (threads, laneOf, more) => entry(threads, laneOf, d4, more),
      open: '',
      close: '',
      heads: 'p.heads',
      lse: (row) => `L[${row} * p.heads + head]`,
      delta: (row) => `delta[${row} * p.heads + head]`,
    };
  }
  // There is room for 16 parameters.
  const heads = `(p.hidden4 / ${d4}u)`;
  const query = (buffer: string): Place => ({ buffer, stride: 'p.hidden4', column: 'column' });
  const key = (buffer: string): Place => ({ buffer, stride: 'p.keyHidden4', column: 'keyColumn' });
  // With a bias both gradients lie in one buffer, since some adapters bind no more than 8.
  const both = (part: 0 | 1): Place => ({
    buffer: 'outDKV',
    stride: '2u * p.keyHidden4',
    column: part === 0 ? 'keyColumn' : 'p.keyHidden4 + keyColumn',
  });
  const sources = [query('Q'), key('K'), key('V'), ...(part === 'forward' ? [] : [query('DO')])];
  const bias = (head: string) =>
    form.bias
      ? `
  let bias = place.x + (p.firstHead + ${head}) * place.y - p.biasBase;`
      : '';
  const own = `
  let at = 4u * (p.firstTile + group.x);
  let tile = tiles[at]; let span = tiles[at + 1u];${form.bias ? ' let place = tiles[at + 2u];' : ''}
  let begin = tile.x - p.base; let end = tile.y - p.base; let first = tile.z - p.base;`;
  return {
    ...shared,
    Q: query('Q'),
    K: key('K'),
    V: key('V'),
    DO: query('DO'),
    O: query('outO'),
    dQ: query('outDQ'),
    dK: form.bias ? both(0) : key('outDK'),
    dV: form.bias ? both(1) : key('outDV'),
    sources,
    entry: (threads, laneOf, more = '') => `
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(${laneOf}) lane: u32${more}) {${own}${
      keysOwn
        ? `
  let keyColumn = group.y * ${d4}u;`
        : `
  let otherBegin = span.x - p.otherBase; let otherEnd = span.y - p.otherBase;
  let head = group.y;
  let column = head * ${d4}u;
  let keyColumn = head / span.z * ${d4}u;${bias('head')}`
    }`,
    open: keysOwn
      ? `for (var member = 0u; member < span.z; member++) {
  // Query heads lie side by side in a row, or one below the other.
  let head = select(group.y * span.z + member, 0u, span.w > 0u);
  let otherBegin = span.x - p.otherBase + member * span.w; let otherEnd = span.y - p.otherBase + member * span.w;
  let column = head * ${d4}u;${bias('group.y * span.z + member')}
  `
      : '',
    close: keysOwn ? '\n  }' : '',
    heads,
    lse: (row) => `stats[${row} * ${heads} + head].x`,
    delta: (row) => `stats[${row} * ${heads} + head].y`,
  };
}
