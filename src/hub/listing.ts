/**
 * Which files a model has at a revision, and what is known of each before it is fetched. `@huggingface/hub` asks the
 * API (it knows its addresses, its pages and its fields); what it gives back is whatever the hub answered, so
 * everything that is used of it is checked here.
 */
import { InputError, MachineError } from '../errors.js';
import { printable, show } from '../show.js';
import type { HubConnection } from './connection.js';

export interface RemoteFile {
  /** As in the repository, with `/`. */
  readonly path: string;
  readonly size: number;
  /** sha256 of the bytes for files in large file storage, else what git calls the file by: the sha1 of a blob. */
  readonly algorithm: 'sha256' | 'git-sha1';
  /** Lower-case hexadecimal; also the file's name among the blobs of the cache. */
  readonly hash: string;
}

export interface Listing {
  /** 40 hexadecimal digits. */
  readonly commit: string;
  readonly paths: ReadonlySet<string>;
  /** @throws MachineError when what the hub says of the file cannot be checked. */
  file(path: string): RemoteFile;
}

const COMMIT = /^[0-9a-f]{40}$/;
const SHA256 = /^[0-9a-f]{64}$/;
/** No file of a model comes near a TiB. */
const LARGEST_FILE = 2 ** 40;

/** @throws InputError when there is no such model or revision, HubUnreachable, MachineError. */
export async function listModel(connection: HubConnection, name: string, revision: string): Promise<Listing> {
  const hub = await import('@huggingface/hub');
  const common = { hubUrl: connection.endpoint, fetch: connection.fetch };
  const { sha } = await understood(connection, () =>
    hub.modelInfo({ ...common, name, revision, additionalFields: ['sha'] }),
  );
  const unexpected = (what: string, found: unknown) =>
    new MachineError(
      `${name}: ${connection.endpoint} answers something else than a hub: expected ${what}, found ${show(found)}`,
    );
  const commit: unknown = sha;
  if (typeof commit !== 'string' || !COMMIT.test(commit)) throw unexpected('a commit', commit);
  if (COMMIT.test(revision) && commit !== revision) throw unexpected(`commit ${revision}`, commit);

  const entries = new Map<string, Record<string, unknown>>();
  await understood(connection, async () => {
    const repo = { type: 'model', name } as const;
    for await (const entry of hub.listFiles({ ...common, repo, recursive: true, revision: commit })) {
      if (typeof entry !== 'object' || entry === null) throw unexpected('a file', entry);
      if (entry.type !== 'file') continue;
      if (typeof entry.path !== 'string') throw unexpected('the path of a file', entry.path);
      if (entries.has(entry.path)) throw unexpected('each file once', entry.path);
      entries.set(entry.path, entry as unknown as Record<string, unknown>);
    }
  });
  return {
    commit,
    paths: new Set(entries.keys()),
    file(path) {
      const entry = entries.get(path)!;
      const lfs = entry['lfs'] as { oid?: unknown; size?: unknown } | null | undefined;
      const large = lfs !== undefined && lfs !== null;
      const size = large ? lfs.size : entry['size'];
      const hash = large ? lfs.oid : entry['oid'];
      const wrong = (what: string, found: unknown) =>
        new MachineError(
          `${name}: ${connection.endpoint} says of ${printable(path)} what cannot be checked: expected ${what}, found ${show(found)}`,
        );
      if (typeof size !== 'number' || !Number.isInteger(size) || size < 0 || size > LARGEST_FILE)
        throw wrong('its size in bytes', size);
      if (typeof hash !== 'string' || !(large ? SHA256 : COMMIT).test(hash))
        throw wrong(`its ${large ? 'sha256' : 'sha1'}`, hash);
      return { path, size, algorithm: large ? 'sha256' : 'git-sha1', hash };
    },
  };
}

/** What the package trips over is an answer that is not what the API promises. */
async function understood<T>(connection: HubConnection, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof InputError || error instanceof MachineError) throw error;
    throw new MachineError(
      `${connection.endpoint} answers something else than a hub: ${show(error instanceof Error ? error.message : error)}`,
    );
  }
}
