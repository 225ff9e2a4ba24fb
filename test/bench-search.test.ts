/** The search bench on a corpus that takes seconds: all of its figures, and none where nothing can be measured. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bench } from './bench-command.js';

test('exact search beside the product and usearch, checked against brute force', () => {
  const words = 'search --rows 700 --width 16 --queries 30 --k 5 --metric cosine --rounds 2 --json'.split(
    ' ',
  );
  const { status, stdout, stderr } = bench(...words);
  assert.equal(status, 0, stderr);
  const { suite, rows, hostBytes, cpu } = JSON.parse(stdout);
  assert.equal(suite, 'search');
  assert.ok(cpu.length > 0 && hostBytes > 1e7);
  const [product, exact, usearch] = rows;
  assert.deepEqual(
    rows.map((row: { searcher: string; k: number | null }) => [row.searcher, row.k]),
    [
      ['product alone', null],
      ['dawntune', 5],
      ['usearch', 5],
    ],
  );
  for (const { rows: count, width, queries, metric, samples, milliseconds, cpuSeconds } of rows) {
    assert.deepEqual([count, width, queries, metric, samples.length], [700, 16, 30, 'cosine', 2]);
    assert.ok(milliseconds > 0 && cpuSeconds > 0);
  }
  assert.ok(
    Math.abs(product.gflops - (2 * 700 * 16 * 30) / product.milliseconds / 1e6) < 1e-9 * product.gflops,
  );
  assert.equal(exact.recall, 1);
  assert.ok(exact.toProduct > 0 && exact.deviceBytes > 1e5);
  assert.ok(usearch.recall > 0.9 && usearch.buildSeconds > 0 && usearch.indexBytes > 700 * 16 * 4);
  assert.equal(usearch.gflops, null);
});
