/**
 * One model in the cache, laid out as Python's huggingface_hub does:
 *   models--org--name/blobs/HASH              bytes, named by their hash; HASH.incomplete while they come
 *   models--org--name/snapshots/COMMIT/PATH   links to blobs
 *   models--org--name/refs/REVISION           the commit that a branch or a tag was at
 *   .locks/models--org--name/HASH.lock        held by whoever fetches the blob
 * Python takes a snapshot that is there for whole. So its folder appears at once, with all its links, when every blob
 * is there, and the reference to it after that. Where Python left a part of one, what is missing is added, and of that the
 * file without which no folder is a model last: `gate`.
 */
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { InputError, MachineError } from '../errors.js';
import { syncFolder, writeFileAtomic } from '../files/atomic.js';
import { lockFile } from '../files/file-lock.js';
import { PositionedFile } from '../files/positioned.js';
import { systemReason } from '../files/reason.js';
import { rename } from '../files/rename.js';
import { printable } from '../show.js';
import { encoderFolder } from '../tokenizer/folder.js';
import { readIndex, WEIGHT_FILES } from '../weights/open.js';
import type { RemoteFile } from './listing.js';

/** Folders in which a snapshot is put together. */
const STAGING = '.dawntune-snapshot.';
const COMMIT = /^[0-9a-f]{40}$/;

/** Folder of a repository `org/name` in a cache. */
const entryName = (name: string): string => `models--${name.replace('/', '--')}`;

export class CacheEntry {
  readonly folder: string;
  private readonly locks: string;

  constructor(
    readonly cache: string,
    readonly name: string,
  ) {
    this.folder = path.join(cache, entryName(name));
    this.locks = path.join(cache, '.locks', entryName(name));
  }

  /** The entry whose folder this is; undefined when its name is that of no entry. */
  static at(folder: string): CacheEntry | undefined {
    const [, org, name] = /^models--(.+?)--(.+)$/.exec(path.basename(path.resolve(folder))) ?? [];
    return org === undefined
      ? undefined
      : new CacheEntry(path.dirname(path.resolve(folder)), `${org}/${name}`);
  }

  blob(hash: string): string {
    return path.join(this.folder, 'blobs', hash);
  }

  lock(hash: string): string {
    return path.join(this.locks, `${hash}.lock`);
  }

  snapshot(commit: string): string {
    return path.join(this.folder, 'snapshots', commit);
  }

  /** Makes the folders that a download writes into. @throws MachineError. */
  prepare(): void {
    this.attempt(() => {
      for (const folder of ['blobs', 'snapshots', 'refs'])
        fs.mkdirSync(path.join(this.folder, folder), { recursive: true });
      fs.mkdirSync(this.locks, { recursive: true });
    });
  }

  /** Whether the snapshot has the file, in its full size. */
  has(commit: string, file: RemoteFile): boolean {
    return sizeOf(path.join(this.snapshot(commit), file.path)) === file.size;
  }

  /**
   * Makes a snapshot of files whose blobs, or whose places in it, are there, and points the revision to it. Where it
   * is so already nothing is written: a cache may be shared by people who can only read it.
   */
  async publish(commit: string, revision: string, files: readonly RemoteFile[], gate: string): Promise<void> {
    const named = COMMIT.test(revision) || this.reference(revision) === commit;
    if (named && files.every((file) => this.has(commit, file))) return;
    this.prepare();
    const lock = await lockFile(path.join(this.locks, 'dawntune-snapshot.lock'), () => {});
    try {
      this.attempt(() => {
        if (lock)
          for (const left of fs.readdirSync(this.folder).filter((name) => name.startsWith(STAGING)))
            fs.rmSync(path.join(this.folder, left), { recursive: true, force: true });
        syncFolder(path.join(this.folder, 'blobs'));
        const staging = path.join(this.folder, `${STAGING}${process.pid}-${randomBytes(4).toString('hex')}`);
        fs.mkdirSync(staging);
        try {
          this.link(commit, files, gate, staging);
          if (!named) this.refer(revision, commit, staging);
        } finally {
          fs.rmSync(staging, { recursive: true, force: true });
        }
      });
    } finally {
      lock?.release();
    }
  }

  private link(commit: string, files: readonly RemoteFile[], gate: string, staging: string): void {
    const snapshot = this.snapshot(commit);
    const make = (file: RemoteFile, into: string) => {
      const link = path.join(into, file.path);
      fs.mkdirSync(path.dirname(link), { recursive: true });
      // Relative, so that a cache can be moved: from the place that the link will have, not from that of `staging`.
      const target = path.join(...file.path.split('/').map(() => '..'), '..', 'blobs', file.hash);
      try {
        fs.symlinkSync(target, link, 'file');
      } catch (error) {
        if (!['EPERM', 'ENOSYS', 'EOPNOTSUPP'].includes((error as NodeJS.ErrnoException).code ?? ''))
          throw error;
        // No symbolic links here (a Windows without the right to make them): a second name, or a copy, of the bytes.
        try {
          fs.linkSync(this.blob(file.hash), link);
        } catch {
          fs.copyFileSync(this.blob(file.hash), link);
        }
      }
    };
    if (!fs.existsSync(snapshot)) {
      const whole = path.join(staging, 'snapshot');
      fs.mkdirSync(whole);
      for (const file of files) make(file, whole);
      try {
        fs.renameSync(whole, snapshot);
        syncFolder(path.dirname(snapshot));
        return;
      } catch (error) {
        if (!['ENOTEMPTY', 'EEXIST', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? ''))
          throw error;
        // Another program made it in between.
      }
    }
    const missing = files.filter((file) => !this.has(commit, file));
    const gateLast = [...missing].sort((a, b) => Number(a.path === gate) - Number(b.path === gate));
    for (const file of gateLast) {
      const single = path.join(staging, 'single');
      make(file, single);
      const place = path.join(snapshot, file.path);
      fs.mkdirSync(path.dirname(place), { recursive: true });
      rename(path.join(single, file.path), place);
      syncFolder(path.dirname(place));
    }
  }

  private refer(revision: string, commit: string, staging: string): void {
    const reference = path.join(this.folder, 'refs', ...revision.split('/'));
    fs.mkdirSync(path.dirname(reference), { recursive: true });
    const fresh = path.join(staging, 'reference');
    writeFileAtomic(fresh, commit);
    rename(fresh, reference);
    syncFolder(path.dirname(reference));
  }

  private reference(revision: string): string | undefined {
    try {
      const text = fs
        .readFileSync(path.join(this.folder, 'refs', ...revision.split('/')), 'utf8')
        .slice(0, 100)
        .trim();
      return text === path.basename(text) && /^[\w-]+$/.test(text) ? text : undefined;
    } catch {
      return undefined;
    }
  }

  /**
   * The snapshot that the revision names, a commit by itself, else by its reference. Where nothing names the revision
   * that is taken by default, the only snapshot there is. Undefined: none.
   */
  cached(revision: string, byDefault: boolean): string | undefined {
    const present = (commit: string) =>
      PositionedFile.exists(path.join(encoderFolder(this.snapshot(commit)), 'config.json'));
    const named = COMMIT.test(revision) ? revision : this.reference(revision);
    if (named !== undefined) return present(named) ? this.snapshot(named) : undefined;
    if (!byDefault) return undefined;
    try {
      const all = fs.readdirSync(path.join(this.folder, 'snapshots')).filter(present);
      return all.length === 1 ? this.snapshot(all[0]!) : undefined;
    } catch {
      return undefined;
    }
  }

  /** Bytes of other downloads that have not come to their end, or are under way. */
  hasIncomplete(): boolean {
    try {
      return fs.readdirSync(path.join(this.folder, 'blobs')).some((name) => name.endsWith('.incomplete'));
    } catch {
      return false;
    }
  }

  private attempt(body: () => void): void {
    try {
      body();
    } catch (error) {
      if (error instanceof InputError || error instanceof MachineError) throw error;
      throw cannotWrite(this.folder, error);
    }
  }
}

/** What a snapshot that is all there is lacks of a model, in words; undefined: nothing that is always needed. */
export function missingOf(snapshot: string): string | undefined {
  const encoder = encoderFolder(snapshot);
  const has = (file: string) => PositionedFile.exists(path.join(encoder, file));
  const weights = WEIGHT_FILES.find(({ file }) => has(file));
  if (!weights) return 'weights';
  if (!weights.isIndex) return undefined;
  for (const shard of new Set(readIndex(path.join(encoder, weights.file)).files.values()))
    if (!has(shard)) return printable(shard);
  return undefined;
}

/** Following links; undefined for what is no file. */
export function sizeOf(file: string): number | undefined {
  try {
    const stat = fs.statSync(file);
    return stat.isFile() ? stat.size : undefined;
  } catch {
    return undefined;
  }
}

export function cannotWrite(place: string, error: unknown): MachineError {
  const { code } = error as NodeJS.ErrnoException;
  const hint =
    code === 'ENOSPC' || code === 'EDQUOT'
      ? '; free space on this disk, or give another by --cache_dir or HF_HOME, and run again: what is there is kept'
      : code === 'EACCES' || code === 'EROFS' || code === 'EPERM'
        ? '; give a cache that can be written by --cache_dir or HF_HOME'
        : '';
  return new MachineError(`${printable(place)}: cannot write: ${systemReason(error)}${hint}`);
}
