/** A model of the hub. */
import type { RefusedCalls } from './call.js';
import { data, HUB } from './inputs.js';

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
      line: 'org/name: HF_HUB_OFFLINE is set, so that nothing is downloaded, and the cache ./cache/hub has no revision "main" of it; unset HF_HUB_OFFLINE, or give the model\'s folder',
    },
    {
      words: `${HUB} --revision ..`,
      files: data,
      env: { HF_HUB_OFFLINE: '1' },
      line: 'expected a branch, a tag or a commit of the hub, found ".."',
    },
  ],
};
