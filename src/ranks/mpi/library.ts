/**
 * An MPI library through koffi: which shared object to load, the handles and constants of its family, and the few
 * functions that the transport calls. Handles of Open MPI are addresses of the library's own objects; those of the MPICH
 * family (MPICH, Intel MPI, MVAPICH, Cray: one binary interface) are integers. Functions are those of the MPI standard 3.1.
 */
import { createRequire } from 'node:module';
import type { LibraryHandle } from 'koffi';
import { MachineError } from '../../errors.js';
import { messageLine, printable } from '../../show.js';
import type { MpiFamily } from './environment.js';

const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi').default;

/** Sonames by family; those of the second are the same interface under the names that its members give it. */
const SONAMES: Record<MpiFamily, readonly string[]> = {
  openmpi: ['libmpi.so.40'],
  mpich: ['libmpich.so.12', 'libmpi.so.12', 'libmpi_cray.so.12'],
};

/** MPICH and UCX overflow the stack of 1 MiB and less on which koffi calls otherwise. */
const STACK_BYTES = 8 << 20;
/** MPI_THREAD_FUNNELED: one thread calls, others exist. */
const FUNNELED = 1;

/** A handle or a pointer as koffi takes it: an address or an integer, by family. */
type Handle = bigint | number;

/** Memory that MPI reads or fills while a request runs: the caller keeps it alive and where it is. */
export type Bytes = Uint8Array;

export interface Mpi {
  readonly family: MpiFamily;
  /** The shared object, as it was found. */
  readonly file: string;
  /** @throws MachineError when MPI cannot start with a thread of its own. */
  init(): void;
  finalize(): void;
  /** Ends every rank's process; does not return. */
  abort(code: number): void;
  /** The first line in which the library says what it is. */
  version(): string;
  /** The communicator of all ranks, or a second one beside it whose messages never meet those of the first. */
  readonly world: Handle;
  duplicate(communicator: Handle): Handle;
  rank(communicator: Handle): number;
  size(communicator: Handle): number;
  requests(capacity: number): RequestList;
  /** Whom a message waits from that was sent with this tag; undefined: none waits. */
  probe(communicator: Handle, tag: number): number | undefined;
  receive(bytes: Bytes, source: number, tag: number, communicator: Handle): void;
}

/** A list of running requests. Sends and receives begin at once; `done` moves all of them on. */
export interface RequestList {
  send(bytes: Bytes, target: number, tag: number, communicator: Handle): void;
  receive(bytes: Bytes, source: number, tag: number, communicator: Handle): void;
  barrier(communicator: Handle): void;
  /** Whether all are complete; the list is then empty. */
  done(): boolean;
  /** Whether something that comes from this rank or goes to it is still under way. Of a barrier nobody knows: true. */
  concerns(peer: number): boolean;
}

/** To be called once in the thread that exchanges, before it loads anything. */
export function enlargeStacks(): void {
  koffi.config({ async_stack_size: STACK_BYTES, sync_stack_size: STACK_BYTES });
}

/**
 * Loads the library that DAWNTUNE_MPI_LIBRARY names, else the first that is found of `families`.
 * @throws MachineError that lists what was tried.
 */
export function loadMpi(families: readonly MpiFamily[], env: NodeJS.ProcessEnv = process.env): Mpi {
  const named = env['DAWNTUNE_MPI_LIBRARY'];
  const names = named ? [named] : families.flatMap((family) => SONAMES[family]);
  const tried: string[] = [];
  for (const name of names) {
    let library: LibraryHandle;
    try {
      // Open MPI loads plugins that need its own symbols.
      library = koffi.load(name, { global: true });
    } catch (error) {
      tried.push(`${printable(name)}: ${messageLine((error as Error).message)}`);
      continue;
    }
    keepLoaded(name);
    return bind(library, name);
  }
  throw new MachineError(
    `MPI: ${named ? 'DAWNTUNE_MPI_LIBRARY cannot be loaded' : 'no library of the launcher was found'} (${tried.join('; ')}); install the library that belongs to the mpirun that started this, or name it in DAWNTUNE_MPI_LIBRARY`,
  );
}

const RTLD_NOW = 2;
const RTLD_NODELETE = 0x1000;

/**
 * koffi closes a library when its handle is collected, at the latest when the thread ends. Open MPI has handlers that run
 * at the end of the process: closed before, it crashes there. So the library stays until then, whoever closes it.
 */
function keepLoaded(name: string): void {
  koffi.load(null).func('void *dlopen(const char *name, int flags)')(name, RTLD_NOW | RTLD_NODELETE);
}

interface Constants {
  readonly world: Handle;
  readonly byte: Handle;
  readonly errorsReturn: Handle;
  readonly anySource: number;
  readonly statusesIgnore: bigint;
  /** Where MPI_Status holds the source, in words of 32 bits. */
  readonly sourceWord: number;
  /** The C type of a handle. */
  readonly type: 'void *' | 'int';
  requestArray(length: number): BigUint64Array | Int32Array;
}

function constantsOf(library: LibraryHandle): { family: MpiFamily; constants: Constants } {
  const symbol = (name: string): bigint | undefined => {
    try {
      return library.symbol(name) as unknown as bigint;
    } catch {
      return undefined;
    }
  };
  const world = symbol('ompi_mpi_comm_world');
  const byte = symbol('ompi_mpi_byte');
  const errorsReturn = symbol('ompi_mpi_errors_return');
  if (world !== undefined && byte !== undefined && errorsReturn !== undefined)
    return {
      family: 'openmpi',
      constants: {
        world,
        byte,
        errorsReturn,
        anySource: -1,
        statusesIgnore: 0n,
        sourceWord: 0,
        type: 'void *',
        requestArray: (length) => new BigUint64Array(length),
      },
    };
  return {
    family: 'mpich',
    constants: {
      world: 0x44000000,
      byte: 0x4c00010d,
      errorsReturn: 0x54000001,
      anySource: -2,
      statusesIgnore: 1n,
      // count_lo and count_hi_and_cancelled come first.
      sourceWord: 2,
      type: 'int',
      requestArray: (length) => new Int32Array(length),
    },
  };
}

function bind(library: LibraryHandle, file: string): Mpi {
  const { family, constants } = constantsOf(library);
  const { world, byte, type } = constants;
  const bound = (signature: string): ((...values: unknown[]) => number) => {
    try {
      return library.func(signature) as (...values: unknown[]) => number;
    } catch (error) {
      throw new MachineError(
        `${printable(file)}: is no MPI library: ${messageLine((error as Error).message)}`,
      );
    }
  };
  const errorString = bound('int MPI_Error_string(int code, void *text, void *length)');
  /** A call that throws what the library says of its failure. */
  const call = (name: string, parameters: string) => {
    const raw = bound(`int ${name}(${parameters})`);
    return (...values: unknown[]): void => {
      const code = raw(...values);
      if (code === 0) return;
      const text = Buffer.alloc(1024);
      const length = new Int32Array(1);
      errorString(code, text, length);
      throw new MachineError(
        `${name}: ${messageLine(text.toString('utf8', 0, length[0]).trim() || `error ${code}`)}`,
      );
    };
  };
  const initThread = call('MPI_Init_thread', 'void *argc, void *argv, int required, void *provided');
  const finalize = call('MPI_Finalize', '');
  const abort = bound(`int MPI_Abort(${type} communicator, int code)`);
  const commRank = call('MPI_Comm_rank', `${type} communicator, void *rank`);
  const commSize = call('MPI_Comm_size', `${type} communicator, void *size`);
  const commDup = call('MPI_Comm_dup', `${type} communicator, void *copy`);
  const setErrhandler = call('MPI_Comm_set_errhandler', `${type} communicator, ${type} handler`);
  const libraryVersion = call('MPI_Get_library_version', 'void *text, void *length');
  const transfer = `void *bytes, int count, ${type} datatype, int peer, int tag, ${type} communicator`;
  const isend = call('MPI_Isend', `${transfer}, void *request`);
  const irecv = call('MPI_Irecv', `${transfer}, void *request`);
  const recv = call('MPI_Recv', `${transfer}, void *status`);
  const ibarrier = call('MPI_Ibarrier', `${type} communicator, void *request`);
  const testall = call('MPI_Testall', 'int count, void *requests, void *flag, int64_t statuses');
  const testOne = call('MPI_Test', 'void *request, void *flag, int64_t status');
  const iprobe = call('MPI_Iprobe', `int source, int tag, ${type} communicator, void *flag, void *status`);

  const flag = new Int32Array(1);
  const status = new Int32Array(16);

  const number = (read: (communicator: Handle, into: Int32Array) => void) => (communicator: Handle) => {
    const into = new Int32Array(1);
    read(communicator, into);
    return into[0]!;
  };

  return {
    family,
    file,
    world,
    init() {
      const provided = new Int32Array(1);
      initThread(null, null, FUNNELED, provided);
      if (provided[0]! < FUNNELED)
        throw new MachineError(
          `${printable(file)}: gives thread level ${provided[0]}, and MPI_THREAD_FUNNELED is needed`,
        );
      // What fails is to be told with the rank and the peer, not to end the process on the spot.
      setErrhandler(world, constants.errorsReturn);
    },
    finalize: () => finalize(),
    abort: (code) => void abort(world, code),
    version() {
      const text = Buffer.alloc(8192);
      const length = new Int32Array(1);
      libraryVersion(text, length);
      return messageLine(text.toString('utf8', 0, length[0]).split('\n')[0]!.replace(/\0/g, '').trim());
    },
    duplicate(communicator) {
      const copy = constants.requestArray(1);
      commDup(communicator, copy);
      setErrhandler(copy[0]!, constants.errorsReturn);
      return copy[0]!;
    },
    rank: number(commRank),
    size: number(commSize),
    requests(capacity) {
      const array = constants.requestArray(capacity);
      let count = 0;
      /** Of each request the rank at its other end. */
      const peers: (number | 'all')[] = [];
      const next = (peer: number | 'all') => {
        if (count === capacity) throw new RangeError(`more than ${capacity} requests at once`);
        peers[count] = peer;
        return array.subarray(count, ++count);
      };
      return {
        send: (bytes, target, tag, communicator) =>
          isend(bytes, bytes.length, byte, target, tag, communicator, next(target)),
        receive: (bytes, source, tag, communicator) =>
          irecv(bytes, bytes.length, byte, source, tag, communicator, next(source)),
        barrier: (communicator) => ibarrier(communicator, next('all')),
        done() {
          if (count === 0) return true;
          testall(count, array, flag, constants.statusesIgnore);
          if (flag[0] === 0) return false;
          count = 0;
          return true;
        },
        concerns(peer) {
          for (let i = 0; i < count; i++) {
            if (peers[i] !== peer && peers[i] !== 'all') continue;
            // A request that is complete turns into the null request, which stays complete.
            testOne(array.subarray(i, i + 1), flag, constants.statusesIgnore);
            if (flag[0] === 0) return true;
          }
          return false;
        },
      };
    },
    probe(communicator, tag) {
      iprobe(constants.anySource, tag, communicator, flag, status);
      return flag[0] === 0 ? undefined : status[constants.sourceWord];
    },
    receive: (bytes, source, tag, communicator) =>
      recv(bytes, bytes.length, byte, source, tag, communicator, status),
  };
}
