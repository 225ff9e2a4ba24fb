/**
 * Answers of a hub: its API's, the headers of its files and the files themselves, any of them other than it would send
 * them. What the cache then holds must be what was listed, and lie in the cache.
 */
import fs from 'node:fs';
import path from 'node:path';
import { fetchModel } from '../../src/hub/download.js';
import { gitSha1, sha256 } from '../fake-hub.js';
import { damageBytes } from './bytes.js';
import { wordsOf } from './corpus.js';
import { damageTree, textOf, treeOf } from './json.js';
import type { FuzzRandom } from './random.js';

const ENDPOINT = 'http://hub.invalid';
const COMMIT = 'c'.repeat(40);
const NAME = 'org/name';

const once = <T>(make: () => T): (() => T) => {
  let value: T | undefined;
  return () => (value ??= make());
};
const words = once(() => [
  ...wordsOf('hub'),
  ...'type path size oid lfs sha file directory config.json model.safetensors ../x 0_T/config.json'.split(
    ' ',
  ),
  COMMIT,
  'weight_map',
  'a.safetensors',
]);

interface Answered {
  status?: number;
  headers?: Record<string, string>;
}

const shards = {
  'model.safetensors.index.json': '{"weight_map":{"x":"a.safetensors","y":"b.safetensors"}}',
  'a.safetensors': 'aaaa',
  'b.safetensors': 'bb',
};

export function hubInput(random: FuzzRandom): Record<string, Uint8Array | string> {
  const contents: Record<string, string> = {
    'config.json': '{}',
    'tokenizer.json': '{"a":1}',
    '1_Pooling/config.json': '{}',
    ...(random.chance(0.5) ? shards : { 'model.safetensors': 'weights' }),
  };
  if (random.chance(0.2) && 'a.safetensors' in contents)
    contents['model.safetensors.index.json'] = textOf(
      damageTree(treeOf(JSON.parse(shards['model.safetensors.index.json'])), random, words()),
    );
  const list = Object.entries(contents).map(([name, text]) => {
    const bytes = Buffer.from(text);
    const lfs = /safetensors$/.test(name)
      ? { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 130 } }
      : {};
    return { type: 'file', oid: gitSha1(bytes), size: bytes.length, path: name, ...lfs };
  });
  const damaged = (value: unknown, chance: number) => {
    const tree = treeOf(value);
    const text = textOf(random.chance(chance) ? damageTree(tree, random, words()) : tree);
    return random.chance(0.05) ? damageBytes(Buffer.from(text), random) : text;
  };
  const file = random.pick(Object.keys(contents));
  if (random.chance(0.2))
    contents[file] = Buffer.from(damageBytes(Buffer.from(contents[file]!), random)).toString();
  return {
    'info.json': damaged({ id: NAME, sha: COMMIT }, 0.2),
    'tree.json': damaged(list, 0.4),
    'contents.json': JSON.stringify(contents),
    'answers.json': JSON.stringify(
      Array.from({ length: random.chance(0.5) ? 0 : random.size(8) }, () => anyAnswer(random)),
    ),
    // What an earlier run left of a file.
    'left.json': JSON.stringify(
      random.chance(0.3) ? { path: file, text: random.pick(['', '{', 'a', 'weig', 'x'.repeat(20)]) } : null,
    ),
  };
}

/** Of one request, in the place of status 200 and true headers; empty: as the hub would answer. */
function anyAnswer(random: FuzzRandom): Answered {
  if (random.chance(0.4)) return {};
  const status = random.pick([
    200, 200, 206, 204, 301, 302, 307, 400, 401, 403, 404, 416, 429, 500, 503, 599,
  ]);
  const values = [
    '',
    '0',
    '4',
    '-1',
    '1e9',
    'bytes 0-3/4',
    'bytes 2-3/4',
    'bytes */4',
    'identity',
    'gzip',
    '/x',
    '//other.invalid/x',
    'file:///etc/passwd',
    `${ENDPOINT}/again`,
    'http://me:pass@hub.invalid/',
    `<${ENDPOINT}/next>; rel="next"`,
    'RepoNotFound',
    'GatedRepo',
    'EntryNotFound',
    'x'.repeat(5000),
    'Fri, 01 Jan 1999 00:00:00 GMT',
  ];
  const names =
    'content-length content-range content-encoding location link x-error-code x-error-message etag'.split(
      ' ',
    );
  const headers: Record<string, string> = {};
  for (let left = random.size(4); left > 0; left--) headers[random.pick(names)] = random.pick(values);
  return { status, headers };
}

export async function useHub(folder: string): Promise<void> {
  const json = (name: string) => JSON.parse(fs.readFileSync(path.join(folder, name), 'utf8'));
  const contents: Record<string, string> = json('contents.json');
  const answers: Answered[] = json('answers.json');
  const cache = path.join(folder, 'cache');
  const blobs = path.join(cache, 'models--org--name', 'blobs');
  const left: { path: string; text: string } | null = json('left.json');
  if (left) {
    const bytes = Buffer.from(contents[left.path]!);
    fs.mkdirSync(blobs, { recursive: true });
    for (const hash of [gitSha1(bytes), sha256(bytes)])
      fs.writeFileSync(path.join(blobs, `${hash}.incomplete`), left.text);
  }
  const ask = async (input: unknown, init?: { headers?: unknown }): Promise<Response> => {
    const { pathname } = new URL(String(input));
    const { status = 200, headers = {} } = answers.shift() ?? {};
    const body = pathname.includes('/revision/')
      ? fs.readFileSync(path.join(folder, 'info.json'))
      : pathname.includes('/tree/')
        ? fs.readFileSync(path.join(folder, 'tree.json'))
        : Buffer.from(contents[decodeURIComponent(pathname.split(`/${COMMIT}/`)[1] ?? '')] ?? 'nothing');
    const range = /\d+/.exec((init?.headers as Record<string, string> | undefined)?.['range'] ?? '');
    const from = status === 206 && range ? Number(range[0]) : 0;
    return new Response([204, 301, 302, 307].includes(status) ? null : body.subarray(from), {
      status,
      headers,
    });
  };
  const options = {
    cacheDir: cache,
    env: { HF_ENDPOINT: ENDPOINT },
    transport: { fetch: ask, firstPause: 0, attempts: 3 },
  };
  const before = new Set(fs.readdirSync(folder));
  const outcome = await fetchModel(NAME, options).then(
    (snapshot) => ({ snapshot }),
    (error: unknown) => ({ error }),
  );
  for (const name of fs.readdirSync(folder))
    if (!before.has(name) && name !== 'cache') throw new Error(`${name} was written outside of the cache`);
  for (const name of fs.existsSync(blobs) ? fs.readdirSync(blobs) : []) {
    if (name.endsWith('.incomplete')) continue;
    const bytes = fs.readFileSync(path.join(blobs, name));
    if (name !== (name.length === 64 ? sha256(bytes) : gitSha1(bytes)))
      throw new Error(`blob ${name} has other bytes`);
  }
  if ('error' in outcome) throw outcome.error;
  const { snapshot } = outcome;
  for (const name of fs.readdirSync(snapshot, { recursive: true, encoding: 'utf8' })) {
    const file = path.join(snapshot, name);
    if (fs.statSync(file).isFile() && !fs.realpathSync(file).startsWith(blobs))
      throw new Error(`${name} is no blob`);
  }
}
