/**
 * One file of the hub into the blobs of the cache: resumed where an earlier attempt stopped, checked by size and hash
 * before it has its name. `@huggingface/hub` has a download into this cache too (`downloadFileToCacheDir`), which
 * begins anew each time, checks nothing and lets two processes write into one file; its addresses and its layout are
 * kept, the transfer is done here.
 */
import { createHash, type Hash, randomBytes } from 'node:crypto';
import fs from 'node:fs';
import { MachineError } from '../errors.js';
import { lockFile } from '../files/file-lock.js';
import { rename } from '../files/rename.js';
import { formatBytes, printable, show } from '../show.js';
import { type CacheEntry, cannotWrite, sizeOf } from './cache-entry.js';
import { type Answer, Cut, type HubConnection, Patience } from './connection.js';
import type { RemoteFile } from './listing.js';

const READ_BYTES = 1 << 20;
/** Called with the bytes of the file that are there, whenever more have come. */
type Progress = (bytesOfFile: number) => void;

/** The bytes that are in `.incomplete`, with their hash so far. */
class Partial {
  position = 0;
  private hash: Hash;

  private constructor(
    readonly path: string,
    private descriptor: number,
    private readonly file: RemoteFile,
  ) {
    this.hash = startHash(file);
  }

  /** Takes up what is there. @throws MachineError. */
  static open(place: string, file: RemoteFile): Partial {
    let descriptor = -1;
    try {
      descriptor = fs.openSync(place, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o666);
      const partial = new Partial(place, descriptor, file);
      if (fs.fstatSync(descriptor).size > file.size) fs.ftruncateSync(descriptor, 0);
      const buffer = new Uint8Array(READ_BYTES);
      for (;;) {
        const got = fs.readSync(descriptor, buffer, 0, buffer.length, partial.position);
        if (got === 0) return partial;
        partial.hash.update(buffer.subarray(0, got));
        partial.position += got;
      }
    } catch (error) {
      if (descriptor >= 0) fs.closeSync(descriptor);
      throw cannotWrite(place, error);
    }
  }

  write(bytes: Uint8Array): void {
    try {
      for (let offset = 0; offset < bytes.length; )
        offset += fs.writeSync(this.descriptor, bytes, offset, bytes.length - offset, this.position + offset);
    } catch (error) {
      // What of these bytes came to the disk is not in the hash; the next run hashes what it finds.
      throw cannotWrite(this.path, error);
    }
    this.hash.update(bytes);
    this.position += bytes.length;
  }

  restart(): void {
    try {
      fs.ftruncateSync(this.descriptor, 0);
    } catch (error) {
      throw cannotWrite(this.path, error);
    }
    this.position = 0;
    this.hash = startHash(this.file);
  }

  /** Hexadecimal; nothing can be written after that but by `restart`. */
  digest(): string {
    return this.hash.digest('hex');
  }

  /** Syncs the bytes and gives them their name, which outlasts a loss of power when the snapshot does. */
  commit(blob: string): void {
    try {
      fs.fsyncSync(this.descriptor);
      rename(this.path, blob);
    } catch (error) {
      throw cannotWrite(blob, error);
    }
  }

  remove(): void {
    fs.rmSync(this.path, { force: true });
  }

  close(): void {
    fs.closeSync(this.descriptor);
  }
}

function startHash({ algorithm, size }: RemoteFile): Hash {
  return algorithm === 'sha256' ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`);
}

/** Whether the file at `place` is the one that is listed. */
export function isWhole(place: string, file: RemoteFile): boolean {
  if (sizeOf(place) !== file.size) return false;
  const partial = Partial.open(place, file);
  try {
    return partial.digest() === file.hash;
  } finally {
    partial.close();
  }
}

/** Address of a file's bytes. Segments are encoded: names hold `#`, `?`, `%` and what else people type. */
export function fileUrl(endpoint: string, name: string, commit: string, file: string): string {
  return `${endpoint}/${name}/resolve/${commit}/${file.split('/').map(encodeURIComponent).join('/')}`;
}

/**
 * Makes the blob of `file`. @throws InputError when the hub refuses, HubUnreachable, MachineError for a full disk and
 * for bytes that are not those that are listed.
 */
export async function fetchBlob(
  connection: HubConnection,
  entry: CacheEntry,
  url: string,
  file: RemoteFile,
  progress: Progress,
): Promise<void> {
  const blob = entry.blob(file.hash);
  const what = `${entry.name}: ${printable(file.path)}`;
  const lock = await lockFile(entry.lock(file.hash), () =>
    connection.note(`${what}: another process fetches it; waiting for that`),
  );
  try {
    if (sizeOf(blob) !== undefined) {
      if (isWhole(blob, file)) return;
      connection.note(
        `${what}: what the cache has under its name is not the file; it is fetched again (${printable(blob)})`,
      );
      fs.rmSync(blob, { force: true });
    }
    // Without locks two processes must not write into one file, so what one leaves no other takes up.
    const place = lock
      ? `${blob}.incomplete`
      : `${blob}.${process.pid}-${randomBytes(4).toString('hex')}.incomplete`;
    const partial = Partial.open(place, file);
    try {
      await transfer(connection, what, url, file, partial, progress);
      partial.commit(blob);
    } finally {
      partial.close();
      if (!lock) partial.remove();
    }
  } finally {
    lock?.release();
  }
}

async function transfer(
  connection: HubConnection,
  what: string,
  url: string,
  file: RemoteFile,
  partial: Partial,
  progress: Progress,
): Promise<void> {
  let patience = new Patience(connection.transport, connection.note, partial.position);
  let misfits = 0;
  const host = new URL(connection.endpoint).host;
  const unlike = (expected: string, found: string) => {
    partial.remove();
    return new MachineError(
      `${what}: expected ${expected}, found ${found} from ${host}; what came is removed, run again`,
    );
  };
  if (partial.position > 0 && partial.position < file.size)
    connection.note(`${what}: goes on at ${formatBytes(partial.position)} of ${formatBytes(file.size)}`);
  // Whether bytes of several answers, or of an earlier run, are put together.
  let joined = partial.position > 0;
  for (;;) {
    progress(partial.position);
    if (partial.position < file.size) {
      try {
        await attempt();
      } catch (error) {
        if (!(error instanceof Cut)) throw error;
        joined ||= partial.position > 0;
        await patience.after(error, what, connection.advice);
        continue;
      }
    }
    const found = partial.digest();
    if (found === file.hash) return;
    if (!joined) throw unlike(`${file.algorithm} ${file.hash}`, `${found} in the ${file.size} bytes`);
    connection.note(`${what}: its parts do not fit together; it is fetched from the start`);
    partial.restart();
    joined = false;
    // What an earlier run left may have been another file's: once, how far it reached is no measure.
    if (misfits++ === 0) patience = new Patience(connection.transport, connection.note);
  }

  /** One answer's bytes. */
  async function attempt(): Promise<void> {
    const from = partial.position;
    const answer = await connection.once(url, {
      'accept-encoding': 'identity',
      ...(from > 0 ? { range: `bytes=${from}-` } : {}),
    });
    try {
      begin(answer, from);
      for await (const bytes of answer.bytes()) {
        if (bytes.length === 0) continue;
        if (partial.position + bytes.length > file.size)
          throw unlike(`${file.size} bytes, as the hub lists it`, 'more');
        partial.write(bytes);
        patience.reached(partial.position);
        progress(partial.position);
      }
    } finally {
      answer.drop();
    }
    if (partial.position < file.size)
      throw new Cut(`${host} stops after ${formatBytes(partial.position)} of ${formatBytes(file.size)}`);
  }

  /** Whether the answer goes on at byte `from`, or begins anew. */
  function begin({ response }: Answer, from: number): void {
    const { status, headers } = response;
    // The numbers in the headers count encoded bytes; what is read here is decoded.
    const encoded = !['', 'identity'].includes(headers.get('content-encoding')?.trim().toLowerCase() ?? '');
    if (status === 206 && from > 0) {
      const range = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(headers.get('content-range') ?? '');
      if (range && !encoded && Number(range[1]) === from && ['*', String(file.size)].includes(range[3]!))
        return;
      partial.restart();
      throw new Cut(`${host} answers with another part of the file than was asked for`);
    }
    if (status === 416) {
      partial.restart();
      throw new Cut(`${host} has no byte ${from} of it`);
    }
    if (status !== 200) {
      if (response.ok) throw unlike('the file (status 200)', `status ${status}`);
      throw connection.refusal(response, file.path);
    }
    // Ranges are not supported there, or not now.
    if (from > 0) partial.restart();
    joined = false;
    const announced = headers.get('content-length');
    if (announced !== null && !encoded && Number(announced) !== file.size)
      throw unlike(`${file.size} bytes, as the hub lists it`, `an answer of ${show(announced)} bytes`);
  }
}
