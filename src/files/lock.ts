/**
 * One process at a time in a folder. The lock is a file in the folder itself, so that every path to the folder, links
 * included, leads to the same lock. A holder that was killed leaves its file behind; whoever comes next sees that the
 * process is gone and takes over. Nothing here waits for a living holder.
 *
 * Two that start at once must not both take over. Each first puts down a claim, a file whose name no other ever has,
 * and only then looks who else has one: of two claims, the later sees the earlier. Who sees another's claim withdraws
 * and tries again; who sees none judges the lock and turns its claim into the lock, in one rename.
 */
import { createHash, randomBytes } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { InputError, MachineError } from '../errors.js';
import { printable } from '../show.js';
import { type JsonObject, readJsonObject } from './json.js';
import { PositionedFile } from './positioned.js';
import { remedy, systemReason, writingFault } from './reason.js';
import { rename } from './rename.js';

export const LOCK_FILE = '.dawntune.lock';
const CLAIM = /^\.dawntune-claim\.(\d+)\.(\d*)\.([0-9a-f]{12})\.[0-9a-f]{16}$/;
/** Claims live for a few file operations; who meets one this often meets one that was left on another machine. */
const MOST_ATTEMPTS = 60;

/** No system has a process id of more bits. */
const LARGEST_PID = 2 ** 31 - 1;

interface Identity {
  readonly pid: number;
  readonly host: string;
  /** When the process began, as the system counts; ids of processes are used again. Empty where it is not told. */
  readonly started: string;
  /** Of this boot of the machine, empty where it is not told. */
  readonly boot: string;
  /** Containers number their processes by themselves. */
  readonly namespace: string;
}

interface Holder extends Identity {
  readonly nonce: string;
  readonly since: string;
}

type State = 'alive' | 'gone' | 'unknown';

const allHeld = new Set<FolderLock>();
const releaseAll = () => {
  for (const lock of [...allHeld]) lock.release();
};

/** A lock that this process holds: until `release`, at the latest to its end. */
export class FolderLock {
  private held = true;

  private constructor(
    /** As the caller named it. */
    readonly folder: string,
    private readonly nonce: string,
  ) {
    if (allHeld.size === 0) process.on('exit', releaseAll);
    allHeld.add(this);
  }

  /** @throws MachineError that names the holder; InputError when the folder cannot be written. */
  static acquire(folder: string): FolderLock {
    const self = identity();
    for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
      const claim = claimName(self);
      const file = path.join(folder, claim);
      try {
        fs.writeFileSync(file, '', { flag: 'wx' });
      } catch (error) {
        throw writingFault(folder, 'cannot be written', error);
      }
      let taken = false;
      try {
        const rival = otherClaims(folder, claim, self);
        // After the claims: a rival that is no claimant any more has either given up or is the holder by now.
        const holder = livingHolder(folder, self);
        if (holder) throw new MachineError(heldMessage(folder, holder, self));
        if (!rival) {
          const nonce = randomBytes(16).toString('hex');
          const content: Holder = { ...self, nonce, since: new Date().toISOString() };
          writeSynced(file, `${JSON.stringify(content)}\n`);
          rename(file, path.join(folder, LOCK_FILE));
          taken = true;
          return new FolderLock(folder, nonce);
        }
      } catch (error) {
        if (error instanceof MachineError || error instanceof InputError) throw error;
        throw new MachineError(
          `${printable(folder)}: cannot be locked: ${systemReason(error)}${remedy(error)}`,
        );
      } finally {
        if (!taken) withdraw(file);
      }
      sleep(1 + Math.random() * Math.min(100, 5 * (attempt + 1)));
    }
    throw new MachineError(
      `${printable(folder)}: another run is about to begin there; if none is, remove its files .dawntune-claim.*`,
    );
  }

  /** @throws MachineError when the lock is another's by now (someone removed the file by hand). */
  verify(): void {
    const holder = this.held ? readHolder(this.folder) : undefined;
    if (!holder && !PositionedFile.exists(this.folder))
      throw new MachineError(
        `${printable(this.folder)}: the folder was removed while a run wrote there; rerun with a folder that stays`,
      );
    if (holder?.nonce !== this.nonce)
      throw new MachineError(
        `${printable(this.folder)}: the lock ${LOCK_FILE} is no longer this run's` +
          `${holder ? ` but that of process ${holder.pid} on ${printable(holder.host)}` : ''}: nothing more is written there`,
      );
  }

  release(): void {
    if (!this.held) return;
    try {
      this.verify();
      fs.rmSync(path.join(this.folder, LOCK_FILE), { force: true });
    } catch {
      // Another's lock is not ours to remove.
    }
    this.held = false;
    allHeld.delete(this);
    if (allHeld.size === 0) process.removeListener('exit', releaseAll);
  }
}

/** Whoever finds a claim that stayed sees that its process is gone. */
function withdraw(claim: string): void {
  try {
    fs.rmSync(claim, { force: true });
  } catch {}
}

/** The process that holds the folder's lock, in words, unless it is known to be gone. @throws MachineError. */
export function lockHolder(folder: string): string | undefined {
  const holder = livingHolder(folder, identity());
  return holder && `process ${holder.pid} on ${printable(holder.host)}`;
}

// ---- who is alive --------------------------------------------------------------------------------------------

function livingHolder(folder: string, self: Identity): Holder | undefined {
  const holder = readHolder(folder);
  return holder && stateOf(holder, self) !== 'gone' ? holder : undefined;
}

function heldMessage(folder: string, holder: Holder, self: Identity): string {
  const who = `process ${holder.pid} on ${printable(holder.host)} writes there${holder.since ? ` since ${printable(holder.since)}` : ''}`;
  const what =
    stateOf(holder, self) === 'alive'
      ? 'wait until it ends, stop it, or give another folder'
      : `if that run has ended, remove ${printable(path.join(folder, LOCK_FILE))}`;
  return `${printable(folder)}: ${who}; ${what}`;
}

function stateOf(other: Identity, self: Identity): State {
  if (other.host !== self.host) return 'unknown';
  if (other.boot !== self.boot && other.boot && self.boot) return 'gone';
  if (other.namespace !== self.namespace && other.namespace && self.namespace) return 'unknown';
  return processState(other.pid, other.started);
}

/** `started`: of the process that is meant; one that began at another time is another. */
function processState(pid: number, started: string): 'alive' | 'gone' {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: it is there, but another user's.
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return 'gone';
  }
  const now = processStart(pid);
  return now === 'ended' || (now && started && now !== started) ? 'gone' : 'alive';
}

let known: Identity | undefined;

function identity(): Identity {
  known ??= {
    pid: process.pid,
    host: os.hostname(),
    started: processStart(process.pid),
    boot: attempt(() => fs.readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()),
    namespace: attempt(() => fs.readlinkSync('/proc/self/ns/pid')),
  };
  return known;
}

/** Field 22 of Linux's /proc/PID/stat; `ended` for a process that only waits to be collected; empty where unknown. */
function processStart(pid: number): string {
  const stat = attempt(() => fs.readFileSync(`/proc/${pid}/stat`, 'utf8'));
  // The name of the program, in parentheses, may hold anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  if (fields[0] === 'Z' || fields[0] === 'X') return 'ended';
  return fields[19] ?? '';
}

function attempt(read: () => string): string {
  try {
    return read();
  } catch {
    return '';
  }
}

// ---- files ---------------------------------------------------------------------------------------------------

/** @throws MachineError when there is a lock that says nothing. */
function readHolder(folder: string): Holder | undefined {
  const file = path.join(folder, LOCK_FILE);
  let value: JsonObject | undefined;
  // One holder may remove its lock and another put down its own between any two looks; a lock that cannot be read
  // however often is another matter.
  for (let look = 1; value === undefined; look++)
    try {
      value = readJsonObject(file, { maxBytes: 1 << 16 });
    } catch (error) {
      if (!PositionedFile.exists(file)) return undefined;
      if (look === 20)
        throw new MachineError(`${(error as Error).message}; if no run writes there, remove this file`);
    }
  const { pid, ...rest } = value;
  const text = (key: string) => (typeof rest[key] === 'string' ? (rest[key] as string) : '');
  if (typeof pid !== 'number' || !Number.isSafeInteger(pid) || pid < 1 || pid > LARGEST_PID)
    throw new MachineError(
      `${printable(file)}: expected a lock with a process id; if no run writes there, remove this file`,
    );
  return {
    pid,
    host: text('host'),
    started: text('started'),
    boot: text('boot'),
    namespace: text('namespace'),
    nonce: text('nonce'),
    since: text('since'),
  };
}

/** All of a claim is in its name: a file's content comes later than the file. */
function claimName({ pid, started, host, boot, namespace }: Identity): string {
  return `.dawntune-claim.${pid}.${started}.${machineDigest({ host, boot, namespace })}.${randomBytes(8).toString('hex')}`;
}

function machineDigest({ host, boot, namespace }: Pick<Identity, 'host' | 'boot' | 'namespace'>): string {
  return createHash('sha256').update([host, boot, namespace].join('\0')).digest('hex').slice(0, 12);
}

/** Whether another process has a claim here; claims of processes that are gone are removed. */
function otherClaims(folder: string, own: string, self: Identity): boolean {
  let found = false;
  for (const name of fs.readdirSync(folder)) {
    const claim = name === own ? null : CLAIM.exec(name);
    if (!claim) continue;
    const [, pid, started, machine] = claim;
    if (machine === machineDigest(self) && processState(Number(pid), started!) === 'gone')
      fs.rmSync(path.join(folder, name), { force: true });
    else found = true;
  }
  return found;
}

function writeSynced(file: string, content: string): void {
  const descriptor = fs.openSync(file, 'w');
  try {
    fs.writeSync(descriptor, content);
    fs.fsyncSync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}

/** Blocks, as everything here does: nothing else of the run has begun yet. */
function sleep(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}
