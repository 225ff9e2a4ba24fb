/**
 * Two texts as one input, as transformers 4.57's `prepare_for_model` joins their ids, which FlagEmbedding's reranker calls:
 * the special ids are those of the tokenizer's class, only the second text is cut, on the side that the folder says.
 */
import { InputError } from '../errors.js';
import type { Part } from './part.js';
import { templateIds } from './template.js';

/** How the ids of a pair are laid out. */
export interface PairLayout {
  readonly before: readonly TypedId[];
  readonly between: readonly TypedId[];
  readonly after: readonly TypedId[];
  /** Token types of the two texts. */
  readonly first: number;
  readonly second: number;
}

export interface TypedId {
  readonly id: number;
  readonly type: number;
}

/** Two texts as the token ids of one sequence. */
export interface EncodedPair {
  /** Special ones included. */
  readonly ids: Uint32Array;
  /** As long as `ids`; undefined where the tokenizer gives a model no types. */
  readonly types: Uint8Array | undefined;
}

/** Ids around the two texts of a pair. */
export const specialsOfPair = ({ before, between, after }: PairLayout): number =>
  before.length + between.length + after.length;

/** `<s> a </s></s> b </s>` of RoBERTa, all of type 0. */
export function robertaPair(cls: number, sep: number): PairLayout {
  const id = (id: number) => ({ id, type: 0 });
  return { before: [id(cls)], between: [id(sep), id(sep)], after: [id(sep)], first: 0, second: 0 };
}

/** `[CLS] a [SEP] b [SEP]` of BERT: the second text and its `[SEP]` are of type 1. */
export function bertPair(cls: number, sep: number): PairLayout {
  return {
    before: [{ id: cls, type: 0 }],
    between: [{ id: sep, type: 0 }],
    after: [{ id: sep, type: 1 }],
    first: 0,
    second: 1,
  };
}

/**
 * The `pair` of a tokenizer.json's template, for tokenizers of no class whose rule is known.
 * @throws InputError when there is none, or it is no template of two texts in their order.
 */
export function templatePair(component: Part | undefined, folder: string): PairLayout {
  const fail = (): never => {
    throw new InputError(
      `${folder}: tokenizer.json: expected a post_processor with a template for pairs of texts, found none`,
    );
  };
  if (component === undefined) return fail();
  if (component.get('type') === 'Sequence') {
    const own = component.parts('processors').filter((part) => part.get('type') !== 'ByteLevel');
    return own.length === 1 ? templatePair(own[0], folder) : fail();
  }
  if (component.get('type') !== 'TemplateProcessing' || !component.has('pair')) return fail();
  const ids: TypedId[][] = [[]];
  const types: number[] = [];
  for (const item of component.parts('pair')) {
    const piece = item.has('Sequence') ? item.part('Sequence') : item.part('SpecialToken');
    const type = piece.has('type_id') ? piece.id('type_id') : 0;
    if (type > 255) piece.fail('type_id', 'a type of at most 255');
    if (!item.has('Sequence')) {
      ids.at(-1)!.push(...templateIds(component, piece.string('id')).map((id) => ({ id, type })));
      continue;
    }
    if (types.length === 2) component.fail('pair', 'each of the two texts once');
    piece.oneOf('id', types.length === 0 ? ['A'] : ['B']);
    types.push(type);
    ids.push([]);
  }
  if (types.length !== 2)
    component.fail('pair', 'both texts, {"Sequence":{"id":"A"}} and {"Sequence":{"id":"B"}}');
  const [before, between, after] = ids as [TypedId[], TypedId[], TypedId[]];
  return { before, between, after, first: types[0]!, second: types[1]! };
}

/**
 * The pair of at most `maxLength` ids. `first` and `second`: ids of the texts without special ones; `first` leaves room
 * for one id of `second` at least. `fromEnd`: the end of `second` is what stays. `typed`: with token types.
 */
export function joinPair(
  layout: PairLayout,
  first: Uint32Array,
  second: Uint32Array,
  maxLength: number,
  { fromEnd, typed }: { readonly fromEnd: boolean; readonly typed: boolean },
): EncodedPair {
  const room = Math.max(0, maxLength - specialsOfPair(layout) - first.length);
  const kept =
    second.length <= room
      ? second
      : fromEnd
        ? second.subarray(second.length - room)
        : second.subarray(0, room);
  const ids = new Uint32Array(specialsOfPair(layout) + first.length + kept.length);
  const types = new Uint8Array(typed ? ids.length : 0);
  let at = 0;
  const put = (values: ArrayLike<number>, type: (i: number) => number) => {
    ids.set(values, at);
    if (typed) for (let i = 0; i < values.length; i++) types[at + i] = type(i);
    at += values.length;
  };
  const specials = (list: readonly TypedId[]) =>
    put(
      list.map(({ id }) => id),
      (i) => list[i]!.type,
    );
  specials(layout.before);
  put(first, () => layout.first);
  specials(layout.between);
  put(kept, () => layout.second);
  specials(layout.after);
  return { ids, types: typed ? types : undefined };
}
