/**
 * What ranks say to each other. The losses and the trainer are written against this; who carries the bytes (one
 * process, worker threads, MPI) is an implementation's business.
 */
import { MachineError } from '../errors.js';

export interface Communicator {
  readonly rank: number;
  readonly size: number;
  /** Element-wise sum over ranks, the same bits on every rank. */
  allReduce(values: Float32Array): Promise<Float32Array>;
  /** Every rank's values, in rank order. Lengths may differ between ranks. */
  allGather(values: Float32Array): Promise<Float32Array[]>;
  /** `root`'s values on every rank. */
  broadcast(values: Float32Array, root: number): Promise<Float32Array>;
  barrier(): Promise<void>;
  /** Ends all ranks with this exit code. */
  abort(code: number): never;
}

/** One rank on its own. */
export class SingleCommunicator implements Communicator {
  readonly rank = 0;
  readonly size = 1;
  async allReduce(values: Float32Array): Promise<Float32Array> {
    return values;
  }
  async allGather(values: Float32Array): Promise<Float32Array[]> {
    return [values];
  }
  async broadcast(values: Float32Array): Promise<Float32Array> {
    return values;
  }
  async barrier(): Promise<void> {}
  abort(code: number): never {
    process.exit(code);
  }
}

/**
 * Ranks played one after another by one process. A first round records what each rank has to say; in the second
 * round every rank hears all of them. Each rank must make the same calls in both rounds.
 */
export class TurnTable {
  private readonly said: Float32Array[][];
  private replaying = false;

  constructor(readonly size: number) {
    this.said = Array.from({ length: size }, () => []);
  }

  /** From here on, calls are answered with what all ranks said. */
  replay(): void {
    this.replaying = true;
  }

  /** @throws MachineError when there is no such rank. */
  rank(rank: number): Communicator {
    const among = (which: number) => {
      if (!(Number.isInteger(which) && which >= 0 && which < this.size))
        throw new MachineError(`there is no rank ${which} among ${this.size}`);
    };
    among(rank);
    let turn = 0;
    const exchange = async (values: Float32Array): Promise<Float32Array[]> => {
      const call = turn++;
      if (!this.replaying) {
        this.said[rank]!.push(values.slice());
        return Array.from({ length: this.size }, () => values.slice());
      }
      return this.said.map((calls, r) => {
        const answer = calls[call];
        if (!answer)
          throw new MachineError(`rank ${r} made ${calls.length} exchanges, rank ${rank} asks for more`);
        return answer;
      });
    };
    return {
      rank,
      size: this.size,
      allGather: exchange,
      async allReduce(values) {
        const all = await exchange(values);
        const other = all.findIndex((part) => part.length !== values.length);
        if (other >= 0)
          throw new MachineError(
            `rank ${other} adds ${all[other]!.length} values to the ${values.length} of rank ${rank}`,
          );
        return values.map((_, i) => all.reduce((sum, part) => sum + part[i]!, 0));
      },
      async broadcast(values, root) {
        among(root);
        return (await exchange(values))[root]!;
      },
      async barrier() {},
      abort(code): never {
        process.exit(code);
      },
    };
  }
}
