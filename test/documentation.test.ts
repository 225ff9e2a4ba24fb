/** The API reference is whole: every exported name and each of its members has a docstring, and every type of a public signature is exported. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ReflectionKind } from 'typedoc';
import { readApi } from '../scripts/api-reference.js';
import { repositoryRoot } from './repository.js';

test('every exported name and member is documented, and every type that one mentions is exported', async () => {
  const { project, undocumented, problems } = await readApi(repositoryRoot);
  const functions = project.getReflectionsByKind(ReflectionKind.Function);
  assert.ok(functions.length > 50, `${functions.length} functions`);
  assert.deepEqual(problems, []);
  assert.deepEqual(undocumented, []);
});
