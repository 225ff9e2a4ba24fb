/** Replicas begin alike: with the weights of rank 0. */
import { MachineError } from '../../errors.js';
import type { M3Model } from '../../models/m3.js';
import { broadcastJson, type Communicator } from '../../ranks/communicator.js';
import type { Tensor } from '../../tensor/tensor.js';
import { areReplicas } from './replicas.js';

/** Elements that are sent at a time. */
const PIECE = 4 << 20;

/**
 * Rank 0's weights, heads that it drew at random among them, on all ranks. Where all have them already, as when all read
 * the same files, checksums are all that travels.
 * @returns whether some rank had others. @throws MachineError where the models are not of the same parameters.
 */
export async function broadcastModel(model: M3Model, communicator: Communicator): Promise<boolean> {
  if (communicator.size === 1) return false;
  const { store } = model;
  if (store.masters) throw new RangeError('broadcastModel: ranks have parts of these weights already');
  const described = (parameters: typeof store.parameters) =>
    parameters.map(({ name, shape, trainable }) => `${name} [${shape}]${trainable ? '' : ', frozen'}`);
  const own = described(store.parameters);
  const first = await broadcastJson(communicator, own);
  const other = own.findIndex((line, i) => line !== first[i]);
  if (other >= 0 || own.length !== first.length)
    throw new MachineError(
      `rank ${communicator.rank} has another model than rank 0: expected ${first[Math.max(0, other)] ?? 'no more parameters'}, found ${own[Math.max(0, other)] ?? 'none'}`,
    );
  if (await areReplicas(store, communicator)) return false;
  const whole: Tensor[] = store.weights ? [store.weights] : [];
  for (const { tensor, offset } of store.parameters) if (offset === undefined) whole.push(tensor);
  for (const tensor of whole) await broadcastTensor(tensor, communicator);
  store.refreshHalves();
  return true;
}

async function broadcastTensor(tensor: Tensor, communicator: Communicator): Promise<void> {
  const { gpu } = tensor;
  const root = communicator.rank === 0;
  const read = (start: number) => {
    const count = Math.min(PIECE, tensor.size - start);
    return { count, reading: root ? gpu.beginRead(tensor.bindingRange(start, count)) : undefined };
  };
  const starts = Array.from({ length: Math.ceil(tensor.size / PIECE) }, (_, n) => n * PIECE);
  let next = read(0);
  for (const start of starts) {
    const { count, reading } = next;
    // The device copies the next piece while this one travels.
    if (start + PIECE < tensor.size) next = read(start + PIECE);
    // Ranges are read in whole vec4s.
    const bytes = reading ? new Uint8Array(await reading.wait(), 0, 4 * count) : new Uint8Array();
    const all = await communicator.broadcast(bytes, 0);
    if (!root) tensor.write(new Float32Array(all.slice().buffer), start);
  }
}
