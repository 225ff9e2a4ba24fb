/** A model of the hub. */
import { FakeHub, fakeModel } from '../fake-hub.js';
import type { RefusedCalls, Stage } from './call.js';
import { data, HUB } from './inputs.js';

/** A hub on this machine that has a model `org/name`, and answers so to what matches. */
const answering = async (on: RegExp, status: number, body = ''): Promise<Stage> => {
  const fake = await FakeHub.start();
  fake.models.set('org/name', fakeModel({ 'config.json': '{}', 'model.safetensors.index.json': '{}' }));
  fake.faults = [{ on, answer: { status, body, headers: { 'content-type': 'application/json' } } }];
  return { names: { ADDRESS: fake.endpoint }, end: () => fake.stop() };
};
const ofAddress = { HF_ENDPOINT: 'ADDRESS', HF_HOME: 'cache', HF_HUB_OFFLINE: '0' };
/** What a hub lists of a file. */
const listed = (path: string, size: number) => ({ type: 'file', path, size, oid: '0'.repeat(40) });

export const hub: RefusedCalls = {
  finetune: [
    {
      words: HUB,
      files: data,
      env: { HF_ENDPOINT: 'x' },
      line: 'HF_ENDPOINT: expected the address of a hub, http or https, with no password or query in it, found "x"',
    },
    {
      words: HUB,
      files: data,
      env: { HF_HUB_DOWNLOAD_TIMEOUT: 'x' },
      line: 'HF_HUB_DOWNLOAD_TIMEOUT: expected seconds, above 0 and at most 86400, found "x"',
    },
    {
      words: HUB,
      files: data,
      env: { HF_TOKEN: 'a b' },
      line: 'HF_TOKEN: expected an access token, found characters that no token has (a space, a line end, …)',
    },
    {
      words: HUB,
      files: data,
      env: { HF_HUB_OFFLINE: '1', HF_HOME: 'cache' },
      line: 'org/name: no such folder here; HF_HUB_OFFLINE is set, so that nothing is downloaded, and the cache ./cache/hub has no revision "main" of it; unset HF_HUB_OFFLINE, or give the model\'s folder',
    },
    {
      words: `${HUB} --revision ..`,
      files: data,
      env: { HF_HUB_OFFLINE: '1' },
      line: '--revision: expected a branch, a tag or a commit of the hub, found ".."',
    },
    {
      words: HUB,
      files: data,
      env: ofAddress,
      before: () => answering(/revision/, 418),
      line: 'org/name: ADDRESS answers 418, expected the list of files',
      status: 1,
    },
    {
      words: HUB,
      files: data,
      env: ofAddress,
      before: () => answering(/revision/, 200, '{"id":"org/name","sha":"x"}'),
      line: 'org/name: ADDRESS answers something else than a hub: expected a commit, found "x"',
      status: 1,
    },
    {
      words: HUB,
      files: data,
      env: ofAddress,
      before: () => answering(/tree/, 200, '{}'),
      line: /^ADDRESS answers something else than a hub: "/,
      status: 1,
    },
    {
      words: HUB,
      files: data,
      env: ofAddress,
      before: () =>
        answering(
          /tree/,
          200,
          JSON.stringify([listed('config.json', 2), listed('model.safetensors.index.json', 2 ** 25)]),
        ),
      line: 'org/name: model.safetensors.index.json: expected at most 16.8 MB, found 33.6 MB',
    },
    {
      words: HUB,
      files: { ...data, cache: 'x' },
      env: ofAddress,
      before: () => answering(/nothing/, 200),
      line: /^\.\/cache\/hub.*: cannot write: a part of the path is not a folder$/,
      status: 1,
    },
  ],
};
