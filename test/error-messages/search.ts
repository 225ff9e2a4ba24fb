/** What vectors of files and the search in them refuse; commands reach it only with files that others wrote. */
import fs from 'node:fs';
import {
  ApproximateIndex,
  buildApproximateIndex,
  loadUsearch,
} from '../../src/retrieval/search/approximate.js';
import { checkSearch } from '../../src/retrieval/search/neighbours.js';
import { openVectors, readOffsets } from '../../src/retrieval/vectors/files.js';
import { memoryRows } from '../../src/retrieval/vectors/rows.js';
import { VectorSpool } from '../../src/retrieval/vectors/spool.js';
import type { RefusedUse } from './call.js';

/** A .npy file of version 1 with this header, and so many zeros. */
function npy(header: string, zeros: number): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16LE(header.length);
  return Buffer.concat([
    Buffer.from('\x93NUMPY\x01\x00', 'latin1'),
    length,
    Buffer.from(header),
    Buffer.alloc(zeros),
  ]);
}
const vectors = (content: Uint8Array, line: string): RefusedUse => ({
  what: 'openVectors',
  files: { 'a.npy': content },
  use: () => openVectors('a.npy'),
  line: `a.npy: ${line}`,
});

const indexRecord = { format: 'dawntune usearch index', metric: 'ip', precision: 'f32', connectivity: 16 };
const record = (changes: object) =>
  JSON.stringify({ ...indexRecord, expansionAdd: 128, width: 2, count: 3, bytes: 1, ...changes });

const corpus = () => memoryRows(Float32Array.of(1, 0, 0, 1, 1, 1), 2);
/** Searches an index of three rows of two values whose description was changed afterwards. */
const searching =
  (changes: object, rows = corpus()) =>
  async () => {
    await buildApproximateIndex(corpus(), 'i', { metric: 'ip', threads: 1 });
    fs.writeFileSync('i.json', record({ bytes: fs.statSync('i').size, ...changes }));
    await ApproximateIndex.open('i').search(corpus(), rows, { k: 1, threads: 1 });
  };

export const refusedSearches: readonly RefusedUse[] = [
  vectors(
    npy("{'descr': '>f4', 'fortran_order': False, 'shape': (1, 1), }", 4),
    'expected a dtype of <f4 <f2 <i8 <i4 <u4 (little-endian), found ">f4"',
  ),
  vectors(npy("{'descr': '<f4', fortran}", 4), 'expected an entry of a header, found " fortran"'),
  vectors(
    npy("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1, 1), }", 4),
    'the header has "descr" twice',
  ),
  vectors(
    npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1, 1), }", 4),
    "expected a dtype of one number, found \"[('a', '<f4')]\"",
  ),
  vectors(
    npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,, 1), }", 4),
    'expected a shape, found "(1,, 1)"',
  ),
  {
    what: 'readOffsets of another file',
    files: { 'a.jsonl': 'x' },
    use: () => readOffsets('a.jsonl', 1),
    line: 'a.jsonl: expected a .npy file, found something else',
  },
  {
    what: 'VectorSpool.append after dispose',
    use: () => {
      const spool = new VectorSpool({ width: 1 });
      spool.dispose();
      spool.append(Float32Array.of(1));
    },
    line: 'VectorSpool: appended to after it was disposed',
    status: 1,
  },
  {
    what: 'VectorSpool.read after dispose',
    use: () => {
      const spool = new VectorSpool({ width: 1 });
      spool.append(Float32Array.of(1));
      spool.dispose();
      return spool.read(0, 1);
    },
    line: 'VectorSpool: read after it was disposed',
    status: 1,
  },
  {
    what: 'checkSearch of a corpus beyond 32 bits',
    use: () => checkSearch({ width: 1, count: 1 }, { width: 1, count: 2 ** 32 }, { metric: 'ip', k: 1 }),
    line: 'search: a corpus of 4294967296 rows; expected at most 4294967295',
  },
  {
    what: 'ApproximateIndex.open of a description that is none',
    files: { 'i.json': '{}' },
    use: () => ApproximateIndex.open('i'),
    line: 'i.json: expected the description of an index, found {}',
  },
  {
    what: 'ApproximateIndex.open without a description',
    use: () => ApproximateIndex.open('i'),
    line: 'i.json: expected the description of an index: no such file or folder',
  },
  {
    what: 'ApproximateIndex.open of an index that was cut off',
    files: { i: 'x', 'i.json': record({ bytes: 7 }) },
    use: () => ApproximateIndex.open('i'),
    line: 'i: an index of 7 bytes, found 1; build it again',
  },
  {
    what: 'an approximate search in another corpus',
    use: searching({}, memoryRows(Float32Array.of(1, 2), 2)),
    line: 'i: an index of 3 rows of 2 values, and a corpus of 1 of 2',
  },
  {
    what: 'an approximate search in an index of other rows than its description says',
    use: searching({ count: 2 }, memoryRows(Float32Array.of(1, 2, 3, 4), 2)),
    line: 'i: an index of 2 rows, found 3; build it again',
  },
  {
    what: 'buildApproximateIndex where no folder can be',
    files: { a: 'x' },
    use: () => buildApproximateIndex(corpus(), 'a/i', { metric: 'ip', threads: 1 }),
    line: 'a/i: cannot write the index: something else has that name',
  },
  {
    what: 'an approximate search that misses rows',
    use: async () => {
      // The number of the worst row stands for none, as if the search had not come by it.
      const { Index } = await loadUsearch();
      const index = new Index({
        ...{ dimensions: 2, metric: 'ip', quantization: 'f32', multi: false },
        ...{ connectivity: 16, expansion_add: 128, expansion_search: 64 },
      });
      index.add(BigUint64Array.of(0n, 1n, 2n ** 32n - 1n), Float32Array.of(1, 0, 0, 1, -9, -9), 1);
      index.save('i');
      fs.writeFileSync('i.json', record({ bytes: fs.statSync('i').size }));
      await ApproximateIndex.open('i').search(corpus(), corpus(), { k: 3, threads: 1 });
    },
    line: 'i: the index finds fewer than 3 rows for query 0; ask for fewer, or search exactly',
    status: 1,
  },
];
