/**
 * The verdicts of the reference implementation (the Rust crate behind pip's safetensors 0.8.0) on small files, most
 * of them damaged: `test/golden/safetensors/make.py` made both. What it refuses is refused here; what it accepts is
 * accepted with the same tensors, but for the reasons listed. `DAWNTUNE_VERDICTS` names another file of that script's.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { InputError } from '../src/errors.js';
import { bytesOf } from '../src/tensor/dtype.js';
import { SafetensorsFile } from '../src/weights/safetensors.js';
import { golden } from './repository.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-verdicts-'));
after(() => fs.rmSync(folder, { recursive: true }));

/** Where this reader is stricter; `src/weights/safetensors-header.ts` says why. */
const STRICTER: readonly [why: string, message: RegExp][] = [
  [
    'a repeated name',
    /^(?:tensor ".*": the header has this name twice|__metadata__: ".*" stands there twice)$/,
  ],
  ['a header that begins with a blank', /expected a header that begins with "\{", found "(?: |\\[nrt])/],
  ['more than 64 dimensions', /: shape: expected at most 64 numbers, found more$/],
  ['an extent beyond 2^53', /: shape: expected numbers up to 2\^53, found /],
  ['fields by position', /: expected an object, found "\[/],
  ['an object for a dtype', /: expected a dtype, found "\{/],
];

interface Verdict {
  readonly bytes: Uint8Array;
  readonly accepted: boolean;
  readonly digest: string;
}

function* verdicts(file: string): Generator<Verdict> {
  const packed = gunzipSync(fs.readFileSync(file));
  for (let at = 0; at < packed.length; ) {
    const start = at + 13;
    const end = start + packed.readUInt32LE(at);
    yield {
      bytes: packed.subarray(start, end),
      accepted: packed[at + 4] === 1,
      digest: packed.subarray(at + 5, start).toString('hex'),
    };
    at = end;
  }
}

/** As make.py has it. */
function digest(source: SafetensorsFile): string {
  const hash = createHash('sha256');
  const utf8 = (text: string) => Buffer.from(text);
  for (const name of source.names().toSorted((a, b) => Buffer.compare(utf8(a), utf8(b)))) {
    if (!source.isReadable(name)) continue;
    const { dtype, shape } = source.info(name);
    hash.update(utf8(`${name}\0${dtype.toUpperCase()}\0${shape.join(',')}\0`));
    hash.update(bytesOf(source.readRaw(name)));
  }
  return hash.digest('hex').slice(0, 16);
}

test('the verdicts of the reference implementation are met', () => {
  const file = path.join(folder, 'x.safetensors');
  const stricter = new Map(STRICTER.map(([why]) => [why, 0]));
  let accepted = 0;
  let refused = 0;
  for (const verdict of verdicts(
    process.env['DAWNTUNE_VERDICTS'] ?? golden('safetensors', 'verdicts.bin.gz'),
  )) {
    // A new file each time: to empty one that is there costs a hundred times as much on some file systems.
    fs.rmSync(file, { force: true });
    fs.writeFileSync(file, verdict.bytes);
    const what = () => JSON.stringify(Buffer.from(verdict.bytes).toString('latin1'));
    let source: SafetensorsFile | undefined;
    try {
      source = SafetensorsFile.open(file);
    } catch (error) {
      assert.ok(error instanceof InputError, String(error));
      assert.ok(error.message.startsWith(`${file}: `) && error.message.length < 600 + file.length);
      assert.doesNotMatch(error.message, /\p{Cc}/u);
      const problem = error.message.slice(file.length + 2);
      if (verdict.accepted) {
        const reason = STRICTER.find(([, message]) => message.test(problem))?.[0];
        assert.ok(reason !== undefined, `refused, but the reference accepts: ${problem}: ${what()}`);
        stricter.set(reason, stricter.get(reason)! + 1);
      } else refused++;
      continue;
    }
    assert.ok(verdict.accepted, `accepted, but the reference refuses: ${what()}`);
    assert.equal(digest(source), verdict.digest, what());
    source.close();
    accepted++;
  }
  assert.ok(accepted >= 700 && refused >= 2000, `${accepted} accepted, ${refused} refused`);
  for (const [why, count] of stricter) assert.ok(count > 0, `no file for ${why}`);
});
