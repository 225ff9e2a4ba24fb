/** Models of the hub: what comes into the cache, where that is, and what is taken from it. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { silentReporter } from '../src/console/reporter.js';
import { InputError } from '../src/errors.js';
import { requireInside } from '../src/files/inside.js';
import { type DownloadOptions, type DownloadProgress, isHubName } from '../src/hub/download.js';
import { neededFiles } from '../src/hub/needed-files.js';
import { AccessToken, type Environment, hubSettings } from '../src/hub/settings.js';
import { resolveModelFolder } from '../src/models/hub-cache.js';
import { parseFinetuneArguments } from '../src/train/arguments.js';
import { finetune } from '../src/train/trainer.js';
import { fakeModel, gitSha1, sha256 } from './fake-hub.js';
import {
  below,
  cache,
  entry,
  environment,
  fetched,
  home,
  hub,
  NEEDED,
  noise,
  notes,
  refused,
  remarks,
  requireSnapshot,
  small,
  WEIGHTS,
  whole,
} from './hub-case.js';
import { golden } from './repository.js';

test('a model comes into the cache as huggingface_hub lays it out, with the files that are needed', async () => {
  const told: DownloadProgress[] = [];
  const folder = await fetched('org/name', { report: { note() {}, progress: (each) => told.push(each) } });
  assert.equal(folder, path.join(entry(), 'snapshots', whole.commit));
  requireSnapshot(folder, whole, NEEDED);
  assert.deepEqual(
    below(path.join(entry(), 'blobs')),
    NEEDED.map((name) => {
      const { bytes, large } = whole.files.get(name)!;
      return large ? sha256(bytes) : gitSha1(bytes);
    }).toSorted(),
  );
  assert.equal(
    fs.readlinkSync(path.join(folder, 'model.safetensors')),
    path.join('..', '..', 'blobs', sha256(WEIGHTS)),
  );
  assert.equal(
    fs.readlinkSync(path.join(folder, '1_Pooling', 'config.json')),
    path.join('..', '..', '..', 'blobs', gitSha1(Buffer.from(small['1_Pooling/config.json']))),
  );
  assert.equal(fs.readFileSync(path.join(entry(), 'refs', 'main'), 'latin1'), whole.commit);
  assert.deepEqual(fs.readdirSync(entry()).toSorted(), ['blobs', 'refs', 'snapshots']);
  const total = NEEDED.reduce((sum, name) => sum + whole.files.get(name)!.bytes.length, 0);
  assert.ok(told.every(({ bytes }, i) => bytes >= (told[i - 1]?.bytes ?? 0)));
  assert.deepEqual(told.at(-1), {
    model: 'org/name',
    file: 'model.safetensors',
    bytes: total,
    totalBytes: total,
  });

  hub.requests = [];
  assert.equal(await fetched(), folder);
  assert.deepEqual(hub.transfers(), []);
  assert.deepEqual(remarks(), []);
});

test('every file of a model that is written here is among those that are fetched', () => {
  const names = fs.readdirSync(golden('model'));
  const needed = neededFiles(new Set(names))!;
  assert.deepEqual(
    names.filter(
      (name) => !needed.files.includes(name) && name !== needed.weights!.path && !/^expected/.test(name),
    ),
    [],
  );
});

test('revisions: a branch with a slash, a tag, a commit, and a newer commit of the same files', async () => {
  hub.models.set('org/name', { ...whole, revisions: ['feature/ü#1', 'v1'] });
  const folder = await fetched('org/name', { revision: 'feature/ü#1' });
  assert.deepEqual(below(path.join(entry(), 'refs')), ['feature/ü#1']);
  assert.equal(await fetched('org/name', { revision: 'v1' }), folder);
  assert.equal(await fetched('org/name', { revision: whole.commit }), folder);
  assert.deepEqual(below(path.join(entry(), 'refs')), ['feature/ü#1', 'v1']);
  const { commit } = fakeModel({ a: 'another' });
  hub.models.set('org/name', { ...whole, commit });
  hub.requests = [];
  assert.equal(path.basename(await fetched()), commit);
  assert.deepEqual(hub.transfers(), []);
  for (const revision of [
    '',
    '..',
    'a/../b',
    '/a',
    'a//b',
    '.hidden',
    'a\nb',
    'a b',
    'a\\b',
    'x'.repeat(300),
  ])
    if (revision !== '') await refused(fetched('org/name', { revision }), InputError, /expected a branch/);
});

test('a token goes to the hub, never along a redirect, and is never shown', async () => {
  const secret = 'secret-of-mine';
  hub.models.set('org/name', { ...whole, token: secret });
  const options = { token: new AccessToken(secret, '--token') };
  // The hub sends from one of its own addresses to another, too.
  const location = `/org/name/resolve/${whole.commit}/config.json?again`;
  hub.faults = [{ on: /resolve\/\w+\/config\.json/, answer: { status: 307, headers: { location } } }];
  await fetched('org/name', options);
  for (const { host, authorization } of hub.requests)
    assert.equal(authorization, host === 'hub' ? `Bearer ${secret}` : undefined);
  assert.ok(hub.requests.some(({ host }) => host === 'store'));
  hub.models.set('org/gated', { ...whole, gated: true, token: 'another' });
  hub.faults = [
    { on: /gated/, answer: { status: 403, headers: { 'x-error-message': `no ${secret} here` } } },
  ];
  await assert.rejects(fetched('org/gated', options), (error: Error) => !error.message.includes(secret));
  // A hub that echoes it, also where a message quotes the beginning of a text only.
  const json = (body: string) => ({ status: 200, headers: { 'content-type': 'application/json' }, body });
  const info = { on: /revision/, answer: json(JSON.stringify({ id: 'org/name', sha: whole.commit })) };
  for (let before = 0; before < 110; before += 18) {
    const echo = '.'.repeat(before) + secret;
    for (const faults of [
      [{ on: /revision/, answer: { status: 302, headers: { location: `ftp://${echo}@host/` } } }],
      [{ on: /revision/, answer: { status: 302, headers: { location: `ftp://host/?${echo}` } } }],
      [{ on: /revision/, answer: { status: 418, headers: { 'x-error-message': echo } } }],
      [{ on: /revision/, answer: json(echo) }],
      [{ on: /revision/, answer: json(JSON.stringify({ sha: echo })) }],
      [info, { on: /tree/, answer: json(JSON.stringify([echo])) }],
      [info, { on: /tree/, answer: json(JSON.stringify([{ type: 'file', path: [echo] }])) }],
      [info, { on: /tree/, answer: { ...json('[]'), headers: { link: `<http://[${echo}/>; rel="next"` } } }],
    ]) {
      hub.faults = faults;
      notes.length = 0;
      await assert.rejects(fetched('org/name', { ...options, cacheDir: `${cache}-echo` }), (error: Error) => {
        const said = [error.message, ...notes].join('\n');
        for (let length = secret.length; length >= 8; length--)
          assert.ok(!said.includes(secret.slice(0, length)), said);
        return true;
      });
    }
  }
  const { args } = parseFinetuneArguments(
    `--model_name_or_path a/b --train_data x --output_dir o --token ${secret}`.split(' '),
  );
  assert.equal(args.token!.reveal(), secret);
  for (const shown of [JSON.stringify(args), inspect(args, { depth: 9, showHidden: true }), `${args.token}`])
    assert.ok(!shown.includes(secret), shown);
});

test('offline nothing is asked, and only a whole model is taken', async () => {
  const offline = { env: environment({ HF_HUB_OFFLINE: '1' }) };
  await refused(
    fetched('org/name', offline),
    InputError,
    /HF_HUB_OFFLINE is set, .* has no revision "main" of it/,
  );
  const folder = await fetched();
  hub.requests = [];
  assert.equal(await fetched('org/name', offline), folder);
  assert.equal(await fetched('org/name', { ...offline, revision: whole.commit }), folder);
  await refused(fetched('org/name', { ...offline, revision: 'v1' }), InputError, /has no revision "v1"/);
  // A snapshot that Python fetched by its commit has no reference.
  fs.rmSync(path.join(entry(), 'refs', 'main'));
  assert.equal(await fetched('org/name', offline), folder);
  notes.length = 0;
  fs.writeFileSync(path.join(entry(), 'blobs', 'abc.incomplete'), '');
  assert.equal(await fetched('org/name', offline), folder);
  assert.match(notes[0]!, /a download of it into the cache was cut/);
  fs.rmSync(path.join(folder, 'model.safetensors'));
  await refused(fetched('org/name', offline), InputError, /expected a whole model, found no weights/);
  fs.writeFileSync(
    path.join(folder, 'model.safetensors.index.json'),
    '{"weight_map":{"a":"one.safetensors"}}',
  );
  await refused(fetched('org/name', offline), InputError, /found no one\.safetensors/);
  fs.rmSync(path.join(folder, 'config.json'));
  await refused(fetched('org/name', offline), InputError, /has no revision/);
  assert.deepEqual(hub.requests, []);
});

test('what is missing or damaged in a snapshot is fetched again, and nothing else', async () => {
  const folder = await fetched();
  const blob = (name: string) => fs.realpathSync(path.join(folder, name));
  fs.truncateSync(blob('sparse_linear.pt'), 7);
  fs.rmSync(blob('tokenizer.json'));
  fs.rmSync(path.join(folder, 'modules.json'));
  hub.requests = [];
  assert.equal(await fetched(), folder);
  requireSnapshot(folder, whole, NEEDED);
  assert.deepEqual(
    hub
      .transfers()
      .filter((each) => each.includes('/resolve/'))
      .map((each) => each.split('/').at(-1))
      .toSorted(),
    ['sparse_linear.pt', 'tokenizer.json'],
  );
  assert.match(remarks()[0]!, /sparse_linear\.pt: what the cache has under its name is not the file/);
});

test('weights in shards: those that the index lists, wherever they are needed', async () => {
  const index = (files: readonly string[]) =>
    JSON.stringify({ weight_map: Object.fromEntries(files.map((file, i) => [`t${i}`, file])) });
  const shards = { 'a.safetensors': noise(5000, 7), 'b 100%#?ü.safetensors': noise(6000, 8) };
  const model = fakeModel({
    'config.json': '{}',
    'model.safetensors.index.json': index(Object.keys(shards)),
    ...shards,
    'c.safetensors': noise(10, 9),
    'pytorch_model.bin': noise(10, 10),
  });
  hub.models.set('org/name', model);
  requireSnapshot(await fetched(), model, [
    'config.json',
    'model.safetensors.index.json',
    ...Object.keys(shards),
  ]);
  for (const [list, message] of [
    [index(['missing.safetensors']), /expected files of the repository, found "missing\.safetensors"/],
    [index(['../../../x.safetensors']), /expected the name of a file beside the index/],
    ['{}', /expected an object "weight_map"/],
  ] as const) {
    hub.models.set('org/name', fakeModel({ 'config.json': '{}', 'model.safetensors.index.json': list }));
    await refused(fetched('org/name', { cacheDir: `${cache}-bad` }), InputError, message);
  }
});

test('the encoder may have a folder of its own, as in old models of sentence-transformers', async () => {
  const model = fakeModel({
    'modules.json': '[{"path": "0_Transformer"}]',
    '1_Pooling/config.json': '{}',
    '0_Transformer/config.json': '{}',
    '0_Transformer/pytorch_model.bin': noise(100, 4),
    '0_Transformer/sentence_bert_config.json': '{}',
    '0_Transformer/vocab.txt': 'a',
    '0_Transformer/tf_model.h5': 'x',
  });
  hub.models.set('org/name', model);
  const folder = await fetched();
  requireSnapshot(
    folder,
    model,
    [...model.files.keys()].filter((name) => !name.endsWith('.h5')),
  );
  assert.equal(await fetched('org/name', { env: environment({ HF_HUB_OFFLINE: '1' }) }), folder);
  requireInside(folder, path.join(folder, '0_Transformer', 'vocab.txt'));
  requireInside(path.join(folder, '0_Transformer'), path.join(folder, '0_Transformer', 'vocab.txt'));
});

test('a system without symbolic links has second names, or copies', async (context) => {
  const not = (code: string) => () => {
    throw Object.assign(new Error(code), { code });
  };
  context.mock.method(fs, 'symlinkSync', not('EPERM'));
  const folder = await fetched();
  requireSnapshot(folder, whole, NEEDED);
  context.mock.method(fs, 'linkSync', not('EPERM'));
  requireSnapshot(await fetched('org/name', { cacheDir: `${cache}-copies` }), whole, NEEDED);
  hub.requests = [];
  assert.equal(await fetched(), folder);
  assert.deepEqual(hub.transfers(), []);
});

test('the environment says where, as it does for huggingface_hub', () => {
  const token = path.join(home, 'token');
  fs.writeFileSync(token, 'from-file\n');
  const at = (env: Environment, options: DownloadOptions = {}) => hubSettings({ ...options, env });
  const cases: [Environment, string][] = [
    [{}, path.join(os.homedir(), '.cache/huggingface/hub')],
    [{ XDG_CACHE_HOME: '/x' }, '/x/huggingface/hub'],
    [{ XDG_CACHE_HOME: '/x', HF_HOME: '/h' }, '/h/hub'],
    [{ HF_HOME: '~/h' }, path.join(os.homedir(), 'h/hub')],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: as a shell would have it
    [{ HF_HOME: '$A/${B}/$C', A: '/a', B: 'b' }, '/a/b/$C/hub'],
    [{ HF_HOME: '/h', HUGGINGFACE_HUB_CACHE: '/old' }, '/old'],
    [{ HF_HOME: '/h', HUGGINGFACE_HUB_CACHE: '/old', HF_HUB_CACHE: '/new' }, '/new'],
    [{ HF_HUB_CACHE: '' }, path.join(os.homedir(), '.cache/huggingface/hub')],
  ];
  for (const [env, expected] of cases) assert.equal(at(env).cache, expected, JSON.stringify(env));
  assert.equal(at({ HF_HUB_CACHE: '/new' }, { cacheDir: '/given' }).cache, '/given');
  const tokenOf = (env: Environment, options: DownloadOptions = {}) => {
    const found = at(env, options).token;
    return found && [found.reveal(), found.source];
  };
  assert.deepEqual(tokenOf({ HF_TOKEN: ' a ' }), ['a', 'HF_TOKEN']);
  assert.deepEqual(tokenOf({ HF_TOKEN: '', HUGGING_FACE_HUB_TOKEN: 'b' }), ['b', 'HUGGING_FACE_HUB_TOKEN']);
  assert.deepEqual(tokenOf({ HF_TOKEN: 'a' }, { token: 'c' }), ['c', '--token']);
  assert.deepEqual(tokenOf({ HF_HOME: home }), ['from-file', `the file ${token}`]);
  assert.deepEqual(tokenOf({ HF_TOKEN_PATH: token }), ['from-file', `the file ${token}`]);
  assert.equal(tokenOf({ HF_TOKEN: 'a', HF_HUB_DISABLE_IMPLICIT_TOKEN: '1' }), undefined);
  assert.equal(tokenOf({ HF_HOME: path.join(home, 'none') }), undefined);
  for (const [value, offline] of [
    ['1', true],
    ['yes', true],
    ['TRUE', true],
    ['on', true],
    ['0', false],
    ['', false],
    ['2', false],
  ] as const)
    assert.equal(at({ HF_HUB_OFFLINE: value }).offline !== undefined, offline, value);
  assert.equal(at({ TRANSFORMERS_OFFLINE: '1' }).offline, 'TRANSFORMERS_OFFLINE');
  assert.equal(at({ HF_ENDPOINT: 'https://mirror.example/hub/' }).endpoint, 'https://mirror.example/hub');
  for (const env of [
    { HF_ENDPOINT: 'mirror' },
    { HF_ENDPOINT: 'ftp://mirror' },
    { HF_ENDPOINT: 'https://me:pass@mirror' },
    { HF_TOKEN: 'a\nb' },
    { HF_TOKEN: 'ü' },
    { HF_HUB_DOWNLOAD_TIMEOUT: 'soon' },
    { HF_HUB_DOWNLOAD_TIMEOUT: '0' },
    { HF_TOKEN_PATH: home },
  ])
    assert.throws(() => at(env), InputError, JSON.stringify(env));
});

test('a user without a home folder has a cache where one is named', (context) => {
  context.mock.method(os, 'homedir', () => {
    throw new Error('uv_os_homedir returned ENOENT');
  });
  const at = (env: Environment, options: DownloadOptions = {}) => hubSettings({ ...options, env }).cache;
  assert.equal(at({ HF_HOME: '/h' }), '/h/hub');
  assert.equal(at({ XDG_CACHE_HOME: '/x' }), '/x/huggingface/hub');
  assert.equal(at({ HF_HUB_CACHE: '/c' }), '/c');
  assert.equal(at({}, { cacheDir: '/given' }), '/given');
  assert.throws(() => at({}), {
    name: 'InputError',
    message: '--cache_dir or HF_HOME: expected a folder, as this user has no home folder; set it, or HOME',
  });
});

test('names of the hub', () => {
  for (const name of ['BAAI/bge-m3', 'a/b', 'A_1/b.c-d']) assert.ok(isHubName(name), name);
  for (const name of [
    '',
    'a',
    'a/b/c',
    '/a',
    'a/',
    '../a',
    'a/..',
    './a',
    'a/b--c',
    'a/b.git',
    'a /b',
    'a/b?c',
    'a/ü',
    `a/${'b'.repeat(96)}`,
  ])
    assert.ok(!isHubName(name), name);
});

test('finetune takes a model of the hub by its name', async () => {
  const before = { ...process.env };
  Object.assign(process.env, { HF_ENDPOINT: hub.endpoint });
  try {
    const words = (model: string, data = golden('example_data', 'sts')) => [
      '--model_name_or_path',
      model,
      '--train_data',
      data,
      '--output_dir',
      path.join(home, 'output'),
      '--cache_dir',
      cache,
    ];
    const run = (model: string, data?: string) =>
      finetune(parseFinetuneArguments(words(model, data)).args, silentReporter);
    await refused(run('org/name', 'nowhere'), InputError, /--train_data: nowhere: expected a file/);
    assert.deepEqual(hub.requests, []);
    await refused(run('org/none'), InputError, /org\/none: no such folder here/);
    await refused(
      run('nowhere'),
      InputError,
      /--model_name_or_path: nowhere: no such folder, and no name of the hub/,
    );
    const asked = hub.requests.length;
    for (const folder of ['./none', '/none', 'org/none/', 'org/none/last', '../none'])
      await refused(run(folder), InputError, /none.*: no such folder, and no name of the hub/);
    assert.equal(hub.requests.length, asked);
    hub.models.set(
      'org/name',
      fakeModel({ 'config.json': '{"model_type": "gpt"}', 'model.safetensors': 'x' }),
    );
    await refused(run('org/name'), InputError, /tokenizer/);
    const snapshot = path.join(entry(), 'snapshots', hub.models.get('org/name')!.commit);
    assert.equal(await resolveModelFolder(snapshot), snapshot);
    await refused(
      resolveModelFolder(entry()),
      InputError,
      /expected a model folder, found an entry of a cache; give .*snapshots/,
    );
  } finally {
    process.env = before;
  }
});
