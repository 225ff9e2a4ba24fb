/**
 * Messages of the source that no test provokes or quotes yet, under the reason why. The list can only shrink: a message
 * that is not on it needs a row in a file of this folder, and one that has a row comes off (error-messages.test.ts).
 */
export const unprovokedMessages: Readonly<Record<string, readonly string[]>> = {
  'The front door tells it in a process of its own, which this table does not start.': [
    'src/cli/main.ts: expected a command before any flag, found …',
    'src/cli/main.ts: unknown command ……; the commands are …',
  ],
  'A fault of a program that calls the library; the commands do not give such values.': [
    'src/gpu/transfer.ts: copyToTexture: no … rows of … texels, … bytes apart, in … bytes',
    'src/gpu/transfer.ts: read: … bytes into an array of …',
    'src/kernels/launch/shader.ts: …: operands … for the buffers …',
    'src/parity/several-ranks.ts: …/cross_device.json: no loss case "…"',
    'src/ranks/carrier.ts: an exchange of … parts among … ranks',
    'src/ranks/carrier.ts: rank … is closed',
  ],
  'It needs a file system that fails, or a file that another program changes at that moment.': [
    'src/files/publish.ts: …: cannot write: ……',
    'src/gpu/driver-cache.ts: …: cannot read: …',
    'src/hub/cache-entry.ts: …: cannot write: ……',
    'src/retrieval/search/approximate.ts: …: cannot write the index: …',
    'src/setup/driver-download.ts: …: cannot be removed: …',
  ],
  'It needs an adapter, a driver, a system or a launcher that behaves so.': [
    'src/gpu/driver-cache.ts: …: …: expected …, found …',
    'src/gpu/driver-cache.ts: …: expected … bytes, found …',
    'src/gpu/driver-cache.ts: …: expected …, found …',
    'src/gpu/driver-cache.ts: …: ICD.library_path: expected one of …, found …',
    'src/gpu/driver-cache.ts: …: expected a 64-bit shared object',
    'src/gpu/driver-cache.ts: …: expected at least … bytes, found …',
    'src/gpu/software-driver.ts: no WebGPU adapter found (…); …',
    'src/setup/driver-download.ts: setup --system: needs root; run it with sudo',
    'src/setup/driver-download.ts: SwiftShader: no package for …',
    'src/setup/driver-download.ts: …: unexpected contents (SHA-256 …)',
    'src/setup/driver-download.ts: …: has no driver description for …',
    "src/setup/driver-root.ts: Debian …'s Mesa: …",
    'src/setup/driver-root.ts: Debian …: no package has …',
    'src/setup/driver-root.ts: Debian …: no driver description for …',
    'src/setup/driver-root.ts: …: has no dynamic linker',
    'src/setup/mpi.ts: …: no package has …',
    'src/setup/mpi.ts: …: is not complete',
    'src/train/ranks/broadcast-model.ts: rank … has another model than rank 0: expected …, found …',
    'src/ranks/mpi/library.ts: …: gives thread level …, and MPI_THREAD_FUNNELED is needed',
  ],
  'It needs a hub that answers so.': [
    'src/hub/connection.ts: …: … answers …, expected the ……',
    'src/hub/download.ts: …: …: expected at most …, found …',
    'src/hub/listing.ts: …: … answers something else than a hub: expected …, found …',
    'src/hub/listing.ts: … answers something else than a hub: …',
  ],
  'It needs another installation than the one that is tested.': [
    'src/demo/demo-data.ts: …: the demo needs this file of typescript: …',
    'src/demo/demo-data.ts: the demo reads its texts from the package typescript 6 and did not find it: npm install typescript@6.0.3',
    'src/demo/demo-data.ts: …: not inside a package',
  ],
  'It needs values that are not finite at that place, or a file beyond its greatest size.': [
    'src/retrieval/score/pair-scores.ts: the … score of query … and passage … is not finite (…); without --fp16 the model computes in a wider range',
    'src/retrieval/score/reranker.ts: the score of pair … is not finite (…); without --fp16 the model computes in a wider range',
    'src/serve/batcher.ts: the values of text … are not finite (…); without --fp16 the model computes in a wider range',
    'src/tokenizer/parity.ts: …: expected at most … MiB, found …',
    'src/train/run/run.ts: step …, loss …: …',
    'src/weights/safetensors-header.ts: expected at most … tensors, found more',
  ],
  'No row yet, though one could be made: a damaged or unusual file, one that an earlier run left, or a flag.':
    [
      'src/files/lock.ts: …; if no run writes there, remove this file',
      'src/models/output-folder.ts: …: expected …, found …',
      'src/retrieval/search/approximate.ts: …: the index finds fewer than … rows for query …; ask for fewer, or search exactly',
    ],
};
