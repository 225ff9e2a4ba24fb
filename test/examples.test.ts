/** The examples run, small. */
import path from 'node:path';
import { test } from 'node:test';
import { askEmbeddingServer, trainExamples } from './examples.js';
import { repositoryRoot } from './repository.js';

const folder = path.join(repositoryRoot, 'examples');

test('the examples that train reach a loss', () => trainExamples(folder));

test('the embedding server encodes requests that wait together in one batch, and says what is wrong', () =>
  askEmbeddingServer(folder));
