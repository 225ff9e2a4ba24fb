/**
 * Damage to JSON that leaves most of it JSON: values, names and places change, so that what comes after the parser
 * is reached. Trees keep what `JSON.parse` loses: repeated names and the spelling of numbers.
 */
import type { FuzzRandom } from './random.js';

export type JsonTree =
  | { kind: 'object'; members: [name: string, value: JsonTree][] }
  | { kind: 'array'; items: JsonTree[] }
  /** Text that stands as it is. */
  | { kind: 'raw'; text: string };

export function treeOf(value: unknown): JsonTree {
  if (Array.isArray(value)) return { kind: 'array', items: value.map(treeOf) };
  if (typeof value === 'object' && value !== null)
    return { kind: 'object', members: Object.entries(value).map(([name, inner]) => [name, treeOf(inner)]) };
  return { kind: 'raw', text: JSON.stringify(value) };
}

export function textOf(tree: JsonTree): string {
  if (tree.kind === 'raw') return tree.text;
  if (tree.kind === 'array') return `[${tree.items.map(textOf).join(',')}]`;
  return `{${tree.members.map(([name, value]) => `${JSON.stringify(name)}:${textOf(value)}`).join(',')}}`;
}

const raw = (text: string): JsonTree => ({ kind: 'raw', text });

const NUMBERS =
  '0 -0 1 -1 2 0.5 1e2 1.0 100 65536 2147483648 4294967296 1e9 9007199254740993 1e15 1e300 1e999 -1e999 1e-400 NaN -Infinity';
const TEXTS = [
  '',
  ' ',
  'a',
  'None',
  'auto',
  '__proto__',
  'constructor',
  'toString',
  'hasOwnProperty',
  '../../etc/passwd',
  '\u001b[31mred\u001b[0m',
  'line\nbreak\r\u2028',
  '\u0000',
  '\u202eright',
  '\ud800',
  '▁',
  'é',
  '🤗',
  '(a+)+$',
  '(?<=a)b',
  '[',
  '\\',
];
const NAMES = ['__proto__', 'constructor', 'toString', 'type', '', '\u001b', 'length'];

/** Any value, of a kind that often surprises. `words` are names and texts that the reader may know. */
export function strangeValue(random: FuzzRandom, words: readonly string[] = []): JsonTree {
  switch (random.below(9)) {
    case 0:
    case 1:
      return raw(random.pick(NUMBERS.split(' ')));
    case 2:
      return raw(JSON.stringify(random.pick(TEXTS)));
    case 3:
      return raw(JSON.stringify(words.length > 0 ? random.pick(words) : random.pick(TEXTS)));
    case 4:
      return raw(random.pick(['null', 'true', 'false']));
    case 5:
      return raw(
        random.pick(['[]', '{}', '[[]]', '[null]', '{"type":null}', '[0]', '[-1]', '[""]', '{"":{}}']),
      );
    case 6:
      return {
        kind: 'array',
        items: Array.from({ length: random.size(8) }, () => strangeValue(random, words)),
      };
    case 7:
      return {
        kind: 'object',
        members: Array.from({ length: random.size(4) }, () => [
          random.pick(random.chance(0.5) && words.length > 0 ? words : NAMES),
          strangeValue(random, words),
        ]),
      };
    default:
      return hugeValue(random);
  }
}

/** Rarely drawn: long, deep or many. */
function hugeValue(random: FuzzRandom): JsonTree {
  if (!random.chance(0.1)) return raw(String(random.uint32()));
  const size = random.pick([101, 5000, 20000]);
  switch (random.below(5)) {
    case 0:
      return raw('['.repeat(size) + ']'.repeat(size));
    case 1:
      return raw(`${'{"a":'.repeat(size)}1${'}'.repeat(size)}`);
    case 2:
      return raw(`"${random.pick(['a', ' ', '▁', 'é', '\\u0000', 'ab ']).repeat(size)}"`);
    case 3:
      return raw(`[${'0,'.repeat(size)}0]`);
    default:
      return raw(`{${Array.from({ length: size }, (_, i) => `"${i}":0`).join(',')}}`);
  }
}

/** Any place in the tree; containers near the root are as likely as leaves. */
function anyContainer(tree: JsonTree, random: FuzzRandom): Exclude<JsonTree, { kind: 'raw' }> | undefined {
  let found: Exclude<JsonTree, { kind: 'raw' }> | undefined;
  let at = tree;
  while (at.kind !== 'raw') {
    if (found === undefined || random.chance(0.8)) found = at;
    else return found;
    const inner: readonly JsonTree[] = at.kind === 'array' ? at.items : at.members.map(([, value]) => value);
    if (inner.length === 0) return found;
    // Most members of a vocabulary are alike: containers are gone into first.
    const containers = random.chance(0.7) ? inner.filter((value) => value.kind !== 'raw') : [];
    at = random.pick(containers.length > 0 ? containers : inner);
  }
  return found;
}

/** Changes the tree in one or a few places. */
export function damageTree(tree: JsonTree, random: FuzzRandom, words: readonly string[] = []): JsonTree {
  if (random.chance(0.02)) return strangeValue(random, words);
  const scraps: JsonTree[] = [];
  for (let left = random.size(6); left > 0; left--) {
    const container = anyContainer(tree, random);
    if (container === undefined) return strangeValue(random, words);
    const value =
      scraps.length > 0 && random.chance(0.3)
        ? structuredClone(random.pick(scraps))
        : strangeValue(random, words);
    if (container.kind === 'array') damageArray(container.items, value, scraps, random);
    else damageObject(container.members, value, scraps, random, words);
  }
  return tree;
}

function damageArray(items: JsonTree[], value: JsonTree, scraps: JsonTree[], random: FuzzRandom): void {
  const at = random.below(items.length + 1);
  if (at < items.length) scraps.push(items[at]!);
  switch (random.below(4)) {
    case 0:
      items.splice(at, 1);
      break;
    case 1:
      items.splice(at, 0, value);
      break;
    case 2:
      if (at < items.length) items.splice(at, 0, items[at]!);
      break;
    default:
      items[at] = value;
  }
}

function damageObject(
  members: [string, JsonTree][],
  value: JsonTree,
  scraps: JsonTree[],
  random: FuzzRandom,
  words: readonly string[],
): void {
  const name = random.pick(random.chance(0.8) && words.length > 0 ? words : NAMES);
  const at = random.below(members.length);
  const member = members[at];
  if (member) scraps.push(member[1]);
  switch (random.below(6)) {
    case 0:
      members.splice(at, 1);
      break;
    case 1:
      members.push([name, value]);
      break;
    case 2:
      if (member) members.push([member[0], value]);
      break;
    case 3:
      if (member) members[at] = [name, member[1]];
      break;
    default:
      if (member) members[at] = [member[0], value];
  }
}
