/**
 * Added and special tokens as transformers 4.57 collects them from the files of a folder: which there are, with which flags,
 * in which order they are added, and which role each has.
 */
import { isJsonObject, type JsonObject } from '../files/json.js';
import { type AddedToken, type AddedVocabulary, sameToken } from './added-tokens.js';
import type { Part } from './part.js';
import {
  addedParts,
  DEFAULT_TOKENS,
  type FolderSettings,
  isConverted,
  ROLES,
  type Role,
} from './tokenizer-class.js';

const plain = (content: string, flags: Partial<AddedToken> = {}): AddedToken => ({
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: false,
  ...flags,
});

/** A token as the settings name it: a bare text, or with its flags. */
type Named = string | StatedToken;

interface StatedToken extends AddedToken {
  /** Nobody said whether it is normalised: it is, unless it turns out to be special. */
  readonly undecided?: boolean;
}

function asSpecial(token: StatedToken): AddedToken {
  return { ...token, special: true, normalized: token.normalized && token.undecided !== true };
}

export function contentOf(token: Named): string {
  return typeof token === 'string' ? token : token.content;
}

export interface StatedTokens {
  /** By id, with the place that states it. */
  readonly tokens: readonly { id: number; token: StatedToken; part: Part; key: string }[];
  /** special_tokens_map.json, which is read only where tokenizer_config.json has no `added_tokens_decoder`. */
  readonly map: Part | undefined;
  /** What a special token that is named by its text alone is, where some file says so. */
  readonly byContent: ReadonlyMap<string, StatedToken>;
}

/** Python's `AddedToken(**members)`; tokenizer.json must have every flag, elsewhere special tokens are not normalised. */
export function addedToken(part: Part, file: 'tokenizer.json' | 'settings', special?: boolean): StatedToken {
  const strict = file === 'tokenizer.json' ? undefined : false;
  const isSpecial = special ?? part.boolean('special', strict);
  const token = {
    content: part.string('content'),
    single_word: part.boolean('single_word', strict),
    lstrip: part.boolean('lstrip', strict),
    rstrip: part.boolean('rstrip', strict),
    normalized: part.boolean('normalized', strict === undefined ? undefined : !isSpecial),
    special: isSpecial,
    undecided: !part.has('normalized'),
  };
  if (token.content.length > LONGEST_TOKEN) part.fail('content', `at most ${LONGEST_TOKEN} characters`);
  return token;
}

/** UTF-16 units. Tokens are looked for at every place of a text. */
const LONGEST_TOKEN = 1000;

export function statedTokens(folder: FolderSettings): StatedTokens {
  const { config, specialTokensMap: map, addedTokens } = folder;
  const tokens: { id: number; token: StatedToken; part: Part; key: string }[] = [];
  if (config.has('added_tokens_decoder')) {
    const decoder = config.part('added_tokens_decoder');
    for (const key of decoder.keys()) {
      const id = /^\d{1,10}$/.test(key) ? Number(key) : decoder.fail(key, 'ids as names of its members', key);
      tokens.push({ id, token: addedToken(decoder.part(key), 'settings'), part: decoder, key });
    }
    tokens.sort((a, b) => a.id - b.id);
    return { tokens, map: undefined, byContent: new Map(tokens.map(({ token }) => [token.content, token])) };
  }
  const byId = new Map<number, { id: number; token: StatedToken; part: Part; key: string }>();
  if (addedTokens !== undefined) {
    const special = specialTexts(folder, map);
    for (const content of addedTokens.keys()) {
      if (content.length > LONGEST_TOKEN || /\p{Cs}/u.test(content))
        addedTokens.fail(content, `a text of at most ${LONGEST_TOKEN} characters`, content);
      const id = addedTokens.id(content);
      const isSpecial = special.has(content);
      const token = plain(content, { normalized: !isSpecial, special: isSpecial });
      byId.set(id, { id, token, part: addedTokens, key: content });
    }
  }
  const byContent = new Map<string, StatedToken>();
  // transformers files the tokens of added_tokens.json under the name of another, the last of the map's additional ones.
  const misfiled =
    map === undefined ? undefined : namedList(map, 'additional_special_tokens', 'special').at(-1);
  const lastAdded = [...byId.values()].at(-1);
  if (misfiled !== undefined && lastAdded !== undefined) byContent.set(contentOf(misfiled), lastAdded.token);
  for (const part of addedParts(folder.tokenizerJson)) {
    const token = addedToken(part, 'tokenizer.json');
    byId.set(part.id('id'), { id: part.id('id'), token, part, key: 'id' });
    byContent.set(token.content, token);
  }
  tokens.push(...[...byId.values()].sort((a, b) => a.id - b.id));
  return { tokens, map, byContent };
}

/** A member that is a token's text or, as `form` says, its flags. */
function named(part: Part, key: string, form: 'typed' | 'special'): Named {
  const value = part.get(key);
  if (typeof value === 'string') return part.string(key);
  if (!isJsonObject(value)) part.fail(key, 'a token');
  if (form === 'typed' && (value as JsonObject)['__type'] !== 'AddedToken')
    part.fail(key, 'a token, which has "__type": "AddedToken" when it is an object');
  return addedToken(part.part(key), 'settings', form === 'special' ? true : undefined);
}

function namedList(part: Part, key: string, form: 'typed' | 'special'): Named[] {
  if ((part.get(key) ?? null) === null) return [];
  return part.list(key).map((value, i) => {
    const entry = part.with({ [`${key}.${i}`]: value });
    return named(entry, `${key}.${i}`, form);
  });
}

/** The value of a role, special_tokens_map.json's before tokenizer_config.json's; undefined when neither has it. */
function roleValue(folder: FolderSettings, map: Part | undefined, role: string): Named | null | undefined {
  for (const [part, form] of [
    [map, 'special'],
    [folder.config, 'typed'],
  ] as const)
    if (part?.has(role)) return part.get(role) === null ? null : named(part, role, form);
  return undefined;
}

function additionalTokens(folder: FolderSettings, map: Part | undefined): Named[] {
  const key = 'additional_special_tokens';
  const tokens = namedList(folder.config, key, 'typed');
  for (const token of map === undefined ? [] : namedList(map, key, 'special'))
    if (!tokens.some((other) => same(other, token))) tokens.push(token);
  return tokens;
}

/** Named beside the seven roles: a list in transformers 5's files, names of their own in 4's. */
function extraTokens(config: Part): Named[] {
  const key = 'extra_special_tokens';
  if (Array.isArray(config.get(key)) || (config.get(key) ?? null) === null)
    return namedList(config, key, 'typed');
  const extra = config.part(key);
  return extra.keys().map((name) => named(extra, name, 'typed'));
}

/**
 * The texts that make a token of added_tokens.json special. Tokens that tokenizer_config.json gives as objects do not:
 * transformers compares before it has read them.
 */
function specialTexts(folder: FolderSettings, map: Part | undefined): Set<string> {
  const values: Named[] = ROLES.flatMap((role) => {
    const inMap = map?.has(role) === true;
    const value = roleValue(folder, map, role) ?? null;
    return value !== null && (inMap || typeof value === 'string') ? [value] : [];
  });
  const key = 'additional_special_tokens';
  values.push(...namedList(folder.config, key, 'typed').filter((token) => typeof token === 'string'));
  if (map !== undefined) values.push(...namedList(map, key, 'special'));
  return new Set(values.map(contentOf));
}

function same(a: Named, b: Named): boolean {
  return typeof a === 'string' || typeof b === 'string' ? a === b : sameToken(a, b);
}

export interface SpecialTokens {
  readonly byRole: ReadonlyMap<Role, Named>;
  /** In transformers' order, each text once. */
  readonly all: readonly Named[];
}

export function specialTokens(folder: FolderSettings, stated: StatedTokens): SpecialTokens {
  const { className, config, tokenizer } = folder;
  const byRole = new Map<Role, Named>();
  for (const role of ROLES) {
    const value = roleValue(folder, stated.map, role);
    if (value === null) continue;
    let token =
      value === undefined
        ? DEFAULT_TOKENS[className][role]
        : (stated.byContent.get(contentOf(value)) ?? value);
    if (token === undefined && role === 'pad_token') {
      const padding = tokenizer.optionalPart('padding');
      if (padding) token = padding.string('pad_token');
    }
    if (token === undefined) continue;
    if (
      role === 'mask_token' &&
      typeof token === 'string' &&
      className !== 'BertTokenizer' &&
      className !== 'PreTrainedTokenizer'
    )
      token = plain(token, { lstrip: true, special: true });
    if (contentOf(token) !== '') byRole.set(role, token);
  }
  const all: Named[] = [];
  const seen = new Set<string>();
  // A list is compared with what came before it, not with itself: of two tokens of one text the second changes the first.
  const groups = [...byRole.values()].map((token) => [token]);
  groups.push(additionalTokens(folder, stated.map), ...extraTokens(config).map((token) => [token]));
  // A conversion copies them, and what was undecided is decided by the copy.
  const copied = (token: Named): Named =>
    typeof token === 'string' || !isConverted(folder) ? token : { ...token, undecided: false };
  for (const group of groups) {
    const fresh = group.map(copied).filter((token) => !seen.has(contentOf(token)));
    for (const token of fresh) {
      if (contentOf(token).length > LONGEST_TOKEN)
        config.fail('special tokens', `texts of at most ${LONGEST_TOKEN} characters`, token);
      seen.add(contentOf(token));
    }
    all.push(...fresh);
  }
  return { byRole, all };
}

/** PreTrainedTokenizerFast.__init__: the stated tokens, again where the vocabulary has them, then the special ones. */
export function tokensToAdd(
  vocabulary: AddedVocabulary,
  stated: StatedTokens,
  specials: SpecialTokens,
): AddedToken[] {
  const special = new Set(specials.all.map(contentOf));
  const result: AddedToken[] = stated.tokens.map(({ token }) =>
    special.has(token.content) ? asSpecial(token) : token,
  );
  const contents = new Set(
    [...vocabulary.tokens().map(({ token }) => token), ...result].map(({ content }) => content),
  );
  for (const token of specials.all) {
    if (typeof token !== 'string') result.push(asSpecial(token));
    else if (!contents.has(token)) result.push(plain(token, { special: true }));
  }
  return result;
}
