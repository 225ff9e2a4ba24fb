/** Readers with the faults that the fuzz is to find, for the test of the fuzz itself. */
import { InputError } from '../../src/errors.js';
import type { Reader } from './readers.js';

const planted: Record<string, () => void> = {
  right: () => {
    throw new InputError('x.json: expected a number, found nothing');
  },
  untyped: () => void (undefined as unknown as string).length,
  hanging: () => {
    for (;;);
  },
  heap: () => {
    for (const kept: object[] = []; ; ) kept.push({ kept });
  },
  buffers: () => {
    for (const kept: Uint8Array[] = []; ; ) kept.push(new Uint8Array(1 << 24).fill(1));
  },
  ending: () => process.exit(0),
  writing: () => void process.stderr.write('a warning\n'),
  long: () => {
    throw new InputError('x'.repeat(601));
  },
  lines: () => {
    throw new InputError('one\ntwo');
  },
  colours: () => {
    throw new InputError('\u001b[31mred');
  },
  rejecting: () => void Promise.reject(new Error('unheard')),
};

export const readers: ReadonlyMap<string, Reader> = new Map(
  Object.entries(planted).map(([name, read]) => [name, { make: () => ({ x: name }), read }]),
);
