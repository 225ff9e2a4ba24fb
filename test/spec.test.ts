/** Every section of docs/spec/ that a comment or a document cites is there. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { repositoryRoot } from './repository.js';

const spec = path.join(repositoryRoot, 'docs', 'spec');

/** The numbers of a document's headings: `## 4. Losses` is 4, `### 4.2 With teacher` 4.2, `## B. f16 storage` B. */
function sections(file: string): Set<string> {
  const text = fs.readFileSync(file, 'utf8').replaceAll(/```[\s\S]*?```/g, '');
  return new Set([...text.matchAll(/^#{2,4} ([A-Z]|\d+(?:\.\d+)*)\.? /gm)].map(([, number]) => number!));
}

const known = new Map(fs.readdirSync(spec).map((name) => [name, sections(path.join(spec, name))]));

/** `docs/spec/NAME.md §1, §2.3`, over the ends of lines; a § without a name is of the document named last. */
const CITATION = /docs\/spec\/([\w.-]+?\.md)|§[\s*/]*([A-Z](?!\w)|\d+(?:\.\d+)*)/g;

interface Citation {
  document: string | undefined;
  section: string | undefined;
}

function citations(text: string, within?: string): Citation[] {
  let document = within;
  return [...text.matchAll(CITATION)].map(([, name, section]) => {
    if (name) document = name;
    return { document, section };
  });
}

function* sources(folder: string): Generator<string> {
  for (const entry of fs.readdirSync(path.join(repositoryRoot, folder), { withFileTypes: true })) {
    const name = path.join(folder, entry.name);
    if (entry.isDirectory()) yield* sources(name);
    else if (/\.(ts|md)$/.test(entry.name) && !name.startsWith(path.join('docs', 'spec'))) yield name;
  }
}

test('every section of docs/spec that is cited exists', () => {
  const cited = new Set<string>();
  const check = (file: string, found: Citation[]) => {
    for (const { document, section } of found) {
      // A section of a paper stands before any of ours is named.
      if (document === undefined) continue;
      const numbers = known.get(document);
      assert.ok(numbers, `${file}: docs/spec/${document}`);
      if (section === undefined) continue;
      assert.ok(numbers.has(section), `${file}: docs/spec/${document} §${section}`);
      cited.add(`${document} §${section}`);
    }
  };
  const own = path.join('test', 'spec.test.ts');
  for (const folder of ['src', 'bench', 'test', 'scripts', 'docs'])
    for (const file of sources(folder))
      if (file !== own) check(file, citations(fs.readFileSync(path.join(repositoryRoot, file), 'utf8')));
  const citedByCode = cited.size;
  for (const name of known.keys())
    check(`docs/spec/${name}`, citations(fs.readFileSync(path.join(spec, name), 'utf8'), name));
  assert.ok(citedByCode > 20, `${citedByCode} sections`);
  for (const name of known.keys())
    assert.ok(
      [...cited].some((citation) => citation.startsWith(name)),
      `nothing cites docs/spec/${name}`,
    );
});
