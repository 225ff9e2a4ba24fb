/**
 * Ranks that train one model must have the same weights to the bit after every step. Checksums that each makes where its
 * weights lie say whether they have.
 */
import type { ParameterStore } from '../../autograd/parameter-store.js';
import { MachineError } from '../../errors.js';
import { addChecksum } from '../../kernels/checksum.js';
import { cast } from '../../kernels/pointwise.js';
import { bytesOf, type Communicator } from '../../ranks/communicator.js';
import { show } from '../../show.js';
import { scope } from '../../tensor/scope.js';
import { sizeOf } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';

/** [parts] u32, of what every rank has of each part of each parameter in the order of the store. */
async function checksums(store: ParameterStore): Promise<Uint32Array> {
  const parts = partsOf(store);
  return scope(async () => {
    const sums = Tensor.zeros(store.gpu, [parts.length], 'u32', 'workspace');
    for (const [n, { tensor, start, count }] of parts.entries()) {
      // Of divided weights ranks have the copies in common; f32 has every half, and one of each.
      const values = cast(tensor, 'f32');
      addChecksum(values, sums, n, start, count);
      values.dispose();
    }
    return (await sums.toArray()) as Uint32Array;
  });
}

const partsOf = ({ parameters }: ParameterStore) =>
  parameters.flatMap(({ tensor, parts }) =>
    parts.map(({ name, start, shape }) => ({ name, tensor, start, count: sizeOf(shape) })),
  );

/** Whether all ranks have the same weights; all call it. */
export async function areReplicas(store: ParameterStore, communicator: Communicator): Promise<boolean> {
  const own = bytesOf(await checksums(store));
  return (await communicator.allGather(own)).every((other) => Buffer.compare(own, other) === 0);
}

/**
 * All ranks call it between the same steps.
 * @throws MachineError on all of them, naming the ranks that have other weights than most (than rank 0 where as many have
 * those) and which.
 */
export async function requireEqualReplicas(
  { model }: { readonly model: { readonly store: ParameterStore } },
  communicator: Communicator,
): Promise<void> {
  const { store } = model;
  if (communicator.size === 1) return;
  const all = (await communicator.allGather(bytesOf(await checksums(store)))).map(
    (bytes) => new Uint32Array(bytes.slice().buffer),
  );
  const alike = all.map((own) => all.filter((other) => sameWords(own, other)).length);
  const most = alike.indexOf(Math.max(...alike));
  const others = [...all.keys()].filter((rank) => !sameWords(all[rank]!, all[most]!));
  const first = others[0];
  if (first === undefined) return;
  const names = partsOf(store)
    .map(({ name }) => name)
    .filter((_, n) => all[first]![n] !== all[most]![n]);
  const more = names.length > 1 ? ` and of ${names.length - 1} more` : '';
  throw new MachineError(
    `the weights of rank ${first} are no longer those of rank ${most}: the bits of ${show(names[0])}${more} differ` +
      `${
        others.length > 1
          ? `; other weights too: ${others
              .slice(1, 9)
              .map((rank) => `rank ${rank}`)
              .join(', ')}`
          : ''
      }` +
      '; go on from the last checkpoint, with --shard_optimizer, where each weight is one rank’s to update; if it comes again, a device computes wrongly',
  );
}

const sameWords = (a: Uint32Array, b: Uint32Array): boolean =>
  a.length === b.length && a.every((word, n) => word === b[n]);
