/**
 * A model of the hub, by its name: the snapshot in the cache that has all its files, fetched if need be. Where the hub
 * is not to be asked (HF_HUB_OFFLINE) or does not answer, what the cache has must do.
 *
 * Of `@huggingface/hub` are the API (listing.ts), the hub's address and the cache's layout; the transfer (blob.ts) and
 * the way into the cache (cache-entry.ts) are done here, since the package fetches whole repositories, without resume,
 * check, lock or progress, and cannot work offline.
 */
import fs from 'node:fs';
import path from 'node:path';
import { InputError, MachineError } from '../errors.js';
import { formatBytes, printable, show } from '../show.js';
import { readIndex } from '../weights/open.js';
import { fetchBlob, fileUrl } from './blob.js';
import { CacheEntry, missingOf, sizeOf } from './cache-entry.js';
import { HubConnection, HubUnreachable } from './connection.js';
import { type Listing, listModel, type RemoteFile } from './listing.js';
import { neededFiles } from './needed-files.js';
import { type HubOptions, type HubSettings, hubSettings } from './settings.js';
import type { Transport } from './transport.js';

/** How far a download has come. */
export interface DownloadProgress {
  /** Its name on the hub. */
  readonly model: string;
  /** In the repository. */
  readonly file: string;
  /** Of all files that are fetched. */
  readonly bytes: number;
  /** Of all files that are fetched. */
  readonly totalBytes: number;
}

/** Who is told of a download. */
export interface DownloadReport {
  /** For people, one line. */
  note(line: string): void;
  /** Told as bytes come. */
  progress?(progress: DownloadProgress): void;
}

/** Which revision of a hub's model, and who is told of the download. */
export interface DownloadOptions extends HubOptions {
  /** A branch, a tag or a commit; `main` by default. */
  readonly revision?: string | null;
  /** Who is told; by default nobody. */
  readonly report?: DownloadReport;
  /** How requests are made; by default over the network. */
  readonly transport?: Transport;
}

/** Whether a text is a name of the hub: `org/name`, of letters, digits, `-`, `_` and `.`. */
export function isHubName(text: string): boolean {
  const parts = text.split('/');
  return (
    parts.length === 2 &&
    text.length <= 96 &&
    parts.every((part) => /^[A-Za-z0-9_](?:[\w.-]*[A-Za-z0-9_])?$/.test(part)) &&
    !/--|\.\.|\.git$/.test(text)
  );
}

/** Of a sharded model's index; its bytes are checked before it is read. */
const LARGEST_INDEX = 16 << 20;

/**
 * The folder of model `name` at a revision. @throws InputError when it is no name, when the hub has no such model,
 * revision or file, when access is refused, when it is no model that can be read here, or offline when the cache lacks
 * it; MachineError when the hub cannot be reached, sends other bytes than it lists, or the disk is full.
 */
export async function fetchModel(name: string, options: DownloadOptions = {}): Promise<string> {
  if (!isHubName(name))
    throw new InputError(`expected the name of a model of the hub, org/name, found ${show(name)}`);
  const settings = hubSettings(options);
  const revision = options.revision ?? 'main';
  requireRevision(revision);
  const report = options.report ?? { note() {} };
  const entry = new CacheEntry(settings.cache, name);
  const fromCache = () => cachedSnapshot(entry, revision, !options.revision, report);
  if (settings.offline) {
    const snapshot = fromCache();
    if (snapshot !== undefined) return snapshot;
    throw new InputError(
      `${name}: no such folder here; ${settings.offline} is set, so that nothing is downloaded, and the cache ${printable(settings.cache)} has no revision ${show(revision)} of it; unset ${settings.offline}, or give the model's folder`,
    );
  }
  const { HUB_URL } = await import('@huggingface/hub');
  const note = (line: string) => report.note(line);
  const connection = new HubConnection(
    settings,
    settings.endpoint ?? HUB_URL,
    { name, revision },
    options.transport ?? {},
    note,
  );
  let listing: Listing;
  try {
    listing = await listModel(connection, name, revision);
  } catch (error) {
    const snapshot = error instanceof HubUnreachable ? fromCache() : undefined;
    if (snapshot === undefined) throw error;
    note(`${(error as Error).message.split(';')[0]}; the copy in the cache is used: ${printable(snapshot)}`);
    return snapshot;
  }
  return new Download(connection, entry, settings, listing, revision, report).run();
}

/** Git's rules for names, as far as they keep a name within the folder of references. */
function requireRevision(revision: string): void {
  const parts = revision.split('/');
  const bad = (part: string) => part === '' || part.startsWith('.') || part.endsWith('.lock');
  if (
    revision.length > 200 ||
    parts.some(bad) ||
    revision.includes('..') ||
    // biome-ignore lint/suspicious/noControlCharactersInRegex: git allows none in a name
    /[\u0000-\u0020\u007f~^:?*[\\]/.test(revision)
  )
    throw new InputError(
      `--revision: expected a branch, a tag or a commit of the hub, found ${show(revision)}`,
    );
}

/** @throws InputError when the snapshot lacks a file that it needs. */
function cachedSnapshot(
  entry: CacheEntry,
  revision: string,
  byDefault: boolean,
  report: DownloadReport,
): string | undefined {
  const snapshot = entry.cached(revision, byDefault);
  if (snapshot === undefined) return undefined;
  const missing = missingOf(snapshot);
  if (missing !== undefined)
    throw new InputError(
      `${printable(snapshot)}: expected a whole model, found no ${missing}; a download of it was not ended, run once where the hub can be reached`,
    );
  if (entry.hasIncomplete())
    report.note(
      `${entry.name}: a download of it into the cache was cut; a file that a model can do without, such as a head, may be missing`,
    );
  return snapshot;
}

/** One download, from the list of files to the snapshot. */
class Download {
  /** Bytes of files that are whole, and of all that are fetched. */
  private done = 0;
  private total = 0;
  private readonly start = performance.now();

  constructor(
    private readonly connection: HubConnection,
    private readonly entry: CacheEntry,
    private readonly settings: HubSettings,
    private readonly listing: Listing,
    private readonly revision: string,
    private readonly report: DownloadReport,
  ) {}

  async run(): Promise<string> {
    const { entry, listing } = this;
    const { commit, paths } = listing;
    const needed = neededFiles(paths);
    if (!needed?.weights)
      throw new InputError(
        `${entry.name}: expected a model with config.json and weights (model.safetensors or pytorch_model.bin), found ${paths.size} files without ${needed ? 'weights' : 'config.json'} at revision ${show(this.revision)}`,
      );
    const files = [...needed.files, needed.weights.path].map((file) => listing.file(file));
    if (needed.weights.isIndex) {
      const index = files.at(-1)!;
      if (index.size > LARGEST_INDEX)
        throw new InputError(
          `${entry.name}: ${index.path}: expected at most ${formatBytes(LARGEST_INDEX)}, found ${formatBytes(index.size)}`,
        );
      await this.fetch([index]);
      for (const shard of this.shardsOf(index, needed.encoder)) files.push(listing.file(shard));
    }
    await this.fetch(files);
    await entry.publish(commit, this.revision, files, needed.gate);
    return entry.snapshot(commit);
  }

  private shardsOf(index: RemoteFile, encoder: string): string[] {
    const { entry, listing } = this;
    const inSnapshot = path.join(entry.snapshot(listing.commit), index.path);
    const { files } = readIndex(entry.has(listing.commit, index) ? inSnapshot : entry.blob(index.hash));
    const shards = [...new Set(files.values())].map((name) => encoder + name);
    for (const shard of shards)
      if (!listing.paths.has(shard))
        throw new InputError(
          `${entry.name}: ${index.path}: expected files of the repository, found ${show(shard)}, which it does not have`,
        );
    return shards;
  }

  /** Makes the blobs of those that the snapshot lacks. */
  private async fetch(files: readonly RemoteFile[]): Promise<void> {
    const { connection, entry, listing } = this;
    const missing = files.filter((file) => !entry.has(listing.commit, file));
    if (missing.length === 0) return;
    entry.prepare();
    const here = (file: RemoteFile) =>
      sizeOf(entry.blob(file.hash)) ?? sizeOf(`${entry.blob(file.hash)}.incomplete`) ?? 0;
    this.total = missing.reduce((sum, { size }) => sum + size, 0);
    const toCome = missing.reduce((sum, file) => sum + Math.max(0, file.size - here(file)), 0);
    this.requireRoom(toCome);
    this.done = 0;
    connection.note(
      `${entry.name} at ${printable(this.revision)} (${listing.commit.slice(0, 12)}): ${missing.length} files, ` +
        `${formatBytes(this.total)}${toCome < this.total ? `, of which ${formatBytes(this.total - toCome)} are here` : ''}, from ${connection.endpoint} into ${printable(entry.folder)}`,
    );
    for (const file of missing) {
      await fetchBlob(
        connection,
        entry,
        fileUrl(connection.endpoint, entry.name, listing.commit, file.path),
        file,
        (bytes) => this.tell(file, bytes),
      );
      this.tell(file, file.size);
      this.done += file.size;
    }
    connection.note(
      `${entry.name}: ${formatBytes(this.total)} in ${((performance.now() - this.start) / 1000).toFixed(1)} s`,
    );
  }

  private tell(file: RemoteFile, bytes: number): void {
    this.report.progress?.({
      model: this.entry.name,
      file: file.path,
      bytes: this.done + bytes,
      totalBytes: this.total,
    });
  }

  private requireRoom(bytes: number): void {
    let free: number;
    try {
      const { bavail, bsize } = fs.statfsSync(this.entry.folder);
      free = bavail * bsize;
    } catch {
      // A file system that does not tell: the write itself will.
      return;
    }
    if (free < bytes)
      throw new MachineError(
        `${printable(this.settings.cache)}: the disk has ${formatBytes(free)} free, ${this.entry.name} takes ${formatBytes(bytes)}: ` +
          'make room, or give another cache by --cache_dir or HF_HOME',
      );
  }
}
