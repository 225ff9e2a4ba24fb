/** What ranks tell each other of a step, in one small exchange: losses, norms of their parts, and whether one wants to stop. */
import { bytesOf, type Communicator } from '../../ranks/communicator.js';
import { joinedNorm } from './ownership.js';

/** Of one rank. */
export interface OwnNumbers {
  /** Mean loss of its batches. */
  readonly loss: number;
  /** Of the parts of the summed gradient that it owns, as they stand in the store. */
  readonly norm: number;
  /** It was asked to stop. */
  readonly stop: boolean;
  /** What else it has of the step, as many numbers on each rank. */
  readonly others: readonly number[];
}

/** The same on all ranks. */
export interface JointNumbers {
  /** Mean over ranks. */
  readonly loss: number;
  /** Of the summed gradient; not finite where it overflowed. An f32. */
  readonly norm: number;
  readonly stop: boolean;
  /** The first rank whose loss is not finite. */
  readonly notFinite: number | undefined;
  /** Means over ranks. */
  readonly others: readonly number[];
}

export async function joinedNumbers(communicator: Communicator, own: OwnNumbers): Promise<JointNumbers> {
  const told = Float64Array.of(own.loss, own.norm, Number(own.stop), ...own.others);
  const all = (await communicator.allGather(bytesOf(told))).map(
    (bytes) => new Float64Array(bytes.slice().buffer),
  );
  const losses = all.map(([loss]) => loss!);
  const notFinite = losses.findIndex((loss) => !Number.isFinite(loss));
  return {
    loss: losses.reduce((sum, loss) => sum + loss / communicator.size, 0),
    norm: Math.fround(joinedNorm(all.map(([, norm]) => norm!))),
    stop: all.some(([, , stop]) => stop !== 0),
    notFinite: notFinite < 0 ? undefined : notFinite,
    others: own.others.map((_, n) => all.reduce((sum, told) => sum + told[3 + n]! / communicator.size, 0)),
  };
}

/** Whether any rank wants it. All ranks ask. */
export async function anyRank(communicator: Communicator, wish: boolean): Promise<boolean> {
  const all = await communicator.allGather(Uint8Array.of(Number(wish)));
  return all.some(([each]) => each !== 0);
}
