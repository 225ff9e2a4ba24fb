/** What the inputs of the fuzz are made from: whole files, and the words that the readers know. */
import fs from 'node:fs';
import path from 'node:path';
import { golden, repositoryRoot } from '../repository.js';
import { type JsonTree, treeOf } from './json.js';

const once = <T>(make: () => T): (() => T) => {
  let value: T | undefined;
  return () => (value ??= make());
};

export const goldenBytes = (...names: string[]): Uint8Array =>
  Uint8Array.from(fs.readFileSync(golden(...names)));

/** A fresh tree each time: damage changes it in place. */
export const goldenTree = (...names: string[]): JsonTree =>
  treeOf(JSON.parse(fs.readFileSync(golden(...names), 'utf8')));

export const torchFiles = once(() =>
  fs
    .readdirSync(golden('torch_files'))
    .filter((name) => /\.(pt|bin)$/.test(name))
    .map((name) => goldenBytes('torch_files', name)),
);

/** Rows of each of the example files, a few of the shorter ones. */
export const exampleLines = once(() => {
  const lines: string[] = [];
  for (const name of fs.readdirSync(golden('example_data'), { recursive: true, encoding: 'utf8' }))
    if (name.endsWith('.jsonl'))
      lines.push(
        ...fs
          .readFileSync(golden('example_data', name), 'utf8')
          .split('\n')
          .filter((line) => line !== '' && line.length < 2000)
          .slice(0, 4),
      );
  return lines;
});

/** The quoted words in the source of a room or a file: names of keys and values that its readers look for. */
export function wordsOf(...places: string[]): string[] {
  const words = new Set<string>();
  for (const place of places) {
    const full = path.join(repositoryRoot, 'dist', 'src', place);
    const files = fs.statSync(full).isDirectory()
      ? fs.readdirSync(full).map((name) => path.join(full, name))
      : [full];
    for (const file of files.filter((name) => name.endsWith('.js')).toSorted())
      for (const [, word] of fs
        .readFileSync(file, 'utf8')
        .matchAll(/['"]([^'"\\\n{}$/]{1,40})['"]|(?<=\.)\w+/g))
        if (word !== undefined) words.add(word);
  }
  return [...words];
}
