/**
 * Reads the YAML file of `--config`: settings by name, each with the line where it stands. What a name and a value mean
 * is the business of the flag tables (flags.ts), beside which this stands. YAML is 1.2 with its core schema, so `no`,
 * `on` and `yes` are texts; a number keeps the digits of the file, so a revision `1.10` does not become 1.1.
 */
import fs from 'node:fs';
import { createRequire } from 'node:module';
import type { Document, LineCounter, Node, Scalar, YAMLError } from 'yaml';
import { InputError } from './errors.js';
import { messageLine, printable, show } from './show.js';

/** What a file gives a setting: a scalar as one word, a list as one word for each of its scalars. */
export interface ConfigValue {
  readonly kind: 'text' | 'number' | 'boolean' | 'null' | 'list' | 'mapping';
  readonly words: readonly string[];
  /** What stands in the file, for messages. */
  readonly shown: string;
}

export interface ConfigSetting extends ConfigValue {
  /** As the file spells it. */
  readonly key: string;
  /** `run.yaml:3` */
  readonly where: string;
}

/** The settings of a command are a page; what takes longer to parse is another file. */
const MOST_BYTES = 1 << 18;

/** The settings of a file in their order. @throws InputError of one line that names the file and the line. */
export function readConfig(file: string): ConfigSetting[] {
  const text = readText(file);
  const { LineCounter, parseDocument, isAlias, isMap, isScalar, isSeq } = yaml();
  const lines = new LineCounter();
  const fail = (problem: string, at: Place = null) =>
    new InputError(`${whereIs(file, lines, at)}: ${messageLine(problem)}`);
  let document: Document.Parsed;
  try {
    document = parseDocument(text, {
      ...{ lineCounter: lines, version: '1.2', schema: 'core', prettyErrors: false, logLevel: 'error' },
      uniqueKeys: false,
    });
  } catch (error) {
    // A document of thousands of levels.
    if (!(error instanceof RangeError)) throw error;
    throw fail('expected settings, found more levels than can be read');
  }
  const [error] = document.errors;
  if (error) throw fail(reasonOf(error), { range: [error.pos[0]] });

  /** What an alias stands for; an alias of a list within a list is a list within a list, so nothing can grow. */
  const resolved = (node: unknown): unknown => {
    if (!isAlias(node)) return node;
    const target = node.resolve(document);
    if (target === undefined) throw fail(`expected an anchor &${node.source}, found none`, node);
    return target;
  };
  const scalarOf = (node: Scalar): ConfigValue => {
    const { value, source, type } = node;
    const kind =
      value === null
        ? 'null'
        : typeof value === 'boolean' || typeof value === 'number'
          ? (typeof value as 'boolean' | 'number')
          : 'text';
    const word = type === 'PLAIN' && kind !== 'text' && source !== undefined ? source : String(value ?? '');
    return { kind, words: [word], shown: kind === 'text' ? show(word) : kind === 'null' ? 'null' : word };
  };
  const valueIn = (raw: unknown, key: string): ConfigValue => {
    const node = resolved(raw);
    if (node === null || node === undefined) return { kind: 'null', words: [''], shown: 'null' };
    const { tag } = node as Node;
    if (isTagged(node as Node))
      throw fail(`${key}: expected a value without a tag, found ${show(tag)}`, node);
    if (isScalar(node)) return scalarOf(node);
    if (isMap(node)) {
      const empty = node.items.length === 0;
      return { kind: 'mapping', words: empty ? ['{}'] : [], shown: 'a mapping' };
    }
    if (!isSeq(node)) throw fail(`${key}: expected a value, found something else`, node);
    const words = node.items.map((item) => {
      const member = resolved(item);
      if (!isScalar(member) || isTagged(member))
        throw fail(`${key}: expected a list of texts and numbers, found something else in it`, item ?? node);
      const scalar = scalarOf(member);
      if (scalar.kind === 'null' || scalar.kind === 'boolean')
        throw fail(`${key}: expected texts and numbers in a list, found ${scalar.shown}`, member);
      return scalar.words[0]!;
    });
    const shown =
      words.length === 0 ? 'an empty list' : `a list of ${words.slice(0, 5).map(show).join(', ')}`;
    return { kind: 'list', words, shown: `${shown}${words.length > 5 ? ' and more' : ''}` };
  };

  const { contents } = document;
  // Nothing but comments.
  if (contents === null || (isScalar(contents) && contents.value === null && contents.source === ''))
    return [];
  if (!isMap(contents) || isTagged(contents))
    throw fail(
      `expected lines such as learning_rate: 1e-5, found ${isScalar(contents) ? show(contents.value) : 'a list'}`,
      contents,
    );
  return contents.items.map(({ key: name, value }) => {
    if (!isScalar(name) || isTagged(name) || name.value === null)
      throw fail('expected the name of a flag before a colon, found something else', name ?? value);
    const key = name.type === 'PLAIN' ? (name.source ?? '') : String(name.value);
    if (key === '<<') throw fail('<<: merge keys are of YAML 1.1, and are not read', name);
    const shownKey = printable(key.length > 80 ? `${key.slice(0, 80)}…` : key);
    return { key, where: whereIs(file, lines, name), ...valueIn(value, shownKey) };
  });
}

type Place = unknown;

function whereIs(file: string, lines: LineCounter, at: Place): string {
  const offset = (at as { range?: readonly number[] | null } | null)?.range?.[0];
  return `${printable(file)}${offset === undefined ? '' : `:${lines.linePos(offset).line}`}`;
}

/** A tag that was written; the core schema finds the others itself. */
const isTagged = ({ tag }: Node): boolean =>
  tag !== undefined && tag !== 'tag:yaml.org,2002:map' && tag !== 'tag:yaml.org,2002:seq';

/** What the parser says, in a few words. */
function reasonOf({ code, message }: YAMLError): string {
  if (code === 'RESOURCE_EXHAUSTION') return 'expected settings, found more levels than can be read';
  if (code === 'MULTIPLE_DOCS') return 'expected one document, found another after ---';
  return `expected YAML: ${message.split('\n')[0]!.slice(0, 200)}`;
}

function readText(file: string): string {
  const fail = (problem: string) => new InputError(`--config: ${printable(file)}: ${problem}`);
  let bytes: Uint8Array;
  try {
    const stat = fs.statSync(file);
    // Ranks read it too, each for itself, which no pipe can give.
    if (!stat.isFile())
      throw fail(`expected a file, found ${stat.isDirectory() ? 'a folder' : 'something else'}`);
    if (stat.size > MOST_BYTES)
      throw fail(`expected settings in at most ${MOST_BYTES >> 10} KiB, found ${stat.size} bytes`);
    bytes = fs.readFileSync(file);
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw fail(
      (error as NodeJS.ErrnoException).code === 'ENOENT'
        ? 'there is no such file'
        : `cannot be read: ${(error as Error).message}`,
    );
  }
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    if (!text.includes('\0')) return text;
  } catch {
    // Told below.
  }
  throw fail('expected YAML, found bytes that are no text');
}

/** Loaded where a file is read: commands without one start sooner. */
const yaml = () => createRequire(import.meta.url)('yaml') as typeof import('yaml');
