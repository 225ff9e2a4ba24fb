/**
 * Every line that ends a command is listed with the input that provokes it (error-messages/), or is in another test; and
 * the page about them has messages that there are. A message counts as provoked by a row where the row's error was made in
 * its file, or has three words in a row that no other message has, and as in another test where that has such words.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { page } from './documents/pages.js';
import type { RefusedCall } from './error-messages/call.js';
import { frontDoor } from './error-messages/front-door.js';
import { refusedUses } from './error-messages/library.js';
import { type MessageLiteral, messageLiterals, spelled, teller } from './error-messages/literals.js';
import { type ToldLine, toldBy, toldByProcess, toldByUse } from './error-messages/run.js';
import { refusedSearches } from './error-messages/search.js';
import { refusedSetUps } from './error-messages/set-up.js';
import { refusedCalls } from './error-messages/table.js';
import { repositoryRoot } from './repository.js';

const told: { readonly line: string; readonly source: string | undefined }[] = [];

/** Runs a row, and keeps what it told. */
async function requireTold(
  label: string,
  { line, status = 2, systems }: Pick<RefusedCall, 'line' | 'status' | 'systems'>,
  tell: () => Promise<ToldLine>,
): Promise<void> {
  if (systems && !systems.includes(process.platform)) {
    // Its words stand for it where they are no expression.
    if (typeof line === 'string') told.push({ line, source: 'elsewhere' });
    return;
  }
  const { status: found, stderr, source } = await tell();
  // Notices may stand before it, and below it the other rows at fault, set in.
  const last = stderr
    .trimEnd()
    .split('\n')
    .findLast((line) => !line.startsWith('  '))!;
  assert.match(last, /^dawntune: /, label);
  const text = last.slice('dawntune: '.length);
  if (typeof line === 'string') assert.equal(text, line, label);
  else assert.match(text, line, label);
  assert.equal(found, status, label);
  told.push({ line: text, source });
}

for (const [command, calls] of Object.entries(refusedCalls))
  test(`what ${command} refuses, line by line`, async () => {
    for (const call of calls)
      await requireTold(`${command} ${call.words}`, call, () => toldBy(command, call));
  });

test('what the front door tells, in processes', async () => {
  for (const call of frontDoor) await requireTold(call.words, call, () => toldByProcess(call));
});

test('what the library refuses, line by line', async () => {
  for (const use of [...refusedUses, ...refusedSearches, ...refusedSetUps])
    await requireTold(use.what, use, () => toldByUse(use));
});

const literals = messageLiterals();
const keyOf = (literal: MessageLiteral) => `${literal.file}: ${spelled(literal)}`;

/** Runs of three words, or of two where a fixed part has no more. */
function runs(text: string): string[] {
  const words = text.match(/[\w'-]+/g) ?? [];
  const size = Math.min(3, words.length);
  if (size < 2) return [];
  return words.slice(size - 1).map((_, i) => words.slice(i, i + size).join(' '));
}

/** Of each literal the runs of words that no other has. */
function tellingRuns(): Map<MessageLiteral, string[]> {
  const owners = new Map<string, Set<MessageLiteral>>();
  for (const literal of literals)
    for (const part of literal.parts)
      for (const run of runs(part)) owners.set(run, (owners.get(run) ?? new Set()).add(literal));
  const telling = new Map<MessageLiteral, string[]>();
  for (const [run, set] of owners)
    if (set.size === 1) {
      const [literal] = set;
      telling.set(literal!, [...(telling.get(literal!) ?? []), run]);
    }
  return telling;
}

/** Runs of two and three words in the other tests, expressions without their backslashes. */
function runsOfTests(): Set<string> {
  const found = new Set<string>();
  const names = fs.readdirSync(path.join(repositoryRoot, 'test'), { recursive: true, encoding: 'utf8' });
  for (const name of names) {
    if (!name.endsWith('.ts') || /^error-messages\b/.test(name)) continue;
    const text = fs.readFileSync(path.join(repositoryRoot, 'test', name), 'utf8').replaceAll('\\', '');
    const words = text.match(/[\w'-]+/g) ?? [];
    for (let i = 0; i + 1 < words.length; i++) {
      const two = `${words[i]} ${words[i + 1]}`;
      found.add(two);
      if (i + 2 < words.length) found.add(`${two} ${words[i + 2]}`);
    }
  }
  return found;
}

test('every message of the source is provoked', () => {
  assert.ok(literals.length > 400, `${literals.length} messages`);
  const elsewhere = runsOfTests();
  const telling = tellingRuns();
  const lines = told.map(({ line, source }) => {
    // Code above may have made it anew, with a row or a file before or behind it.
    const words = (line.match(/[\w'-]+/g) ?? []).join(' ');
    return { line, words, source };
  });
  const isProvoked = (literal: MessageLiteral) => {
    const tells = teller(literal);
    return lines.some(
      ({ line, words, source }) =>
        tells(line) &&
        (source === literal.file ||
          source === 'elsewhere' ||
          telling.get(literal)?.some((run) => words.includes(run))),
    );
  };
  const open = literals
    .filter((literal) => !isProvoked(literal))
    .filter((literal) => !telling.get(literal)?.some((run) => elsewhere.has(run)))
    .map(keyOf);
  assert.deepEqual(open, [], 'messages that no test provokes: give each a row in test/error-messages/');
});

test('the page on troubles explains messages that there are', () => {
  const { text } = page('docs/troubleshooting.md');
  const headings = [...text.matchAll(/^### `(.+)`$/gm)].map(([, heading]) => heading!);
  assert.ok(headings.length >= 30, `${headings.length} headings`);
  assert.equal(new Set(headings).size, headings.length, 'each message once');
  const known = literals.map(spelled);
  assert.deepEqual(
    headings.filter((heading) => !known.some((message) => message.includes(heading))),
    [],
    'headings that are no message of the source, with … for what a run puts in',
  );
});
