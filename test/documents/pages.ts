/**
 * Every Markdown page of the repository, and what stands in one: fenced blocks, code within lines, headings as addresses.
 * Pages are found by walking the folders, so that a new one is checked from its first day.
 */
import fs from 'node:fs';
import path from 'node:path';
import { repositoryRoot } from '../repository.js';

export interface Page {
  /** From the root of the repository, with forward slashes. */
  readonly name: string;
  readonly text: string;
}

/** Folders of the clone that hold no pages of ours: what was installed, built or written by runs, and goldens. */
const OTHERS = new Set(['node_modules', 'dist', 'output', 'test', 'coverage']);

function walk(folder: string): string[] {
  return fs
    .readdirSync(path.join(repositoryRoot, folder), { withFileTypes: true })
    .flatMap((entry) => {
      const name = path.posix.join(folder, entry.name);
      if (entry.isDirectory()) return OTHERS.has(name) || entry.name.startsWith('.') ? [] : walk(name);
      return name.endsWith('.md') ? [name] : [];
    })
    .sort();
}

export const pages: readonly Page[] = walk('').map((name) => ({
  name,
  text: fs.readFileSync(path.join(repositoryRoot, name), 'utf8'),
}));

export function page(name: string): Page {
  const found = pages.find((each) => each.name === name);
  if (!found) throw new Error(`no page ${name}`);
  return found;
}

export interface Block {
  readonly language: string;
  readonly code: string;
}

/** Fences of every language are paired, so that the end of one is not taken for the start of another. */
export function blocks(text: string): Block[] {
  return [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map(([, language, code]) => ({
    language: language!,
    code: code!,
  }));
}

/** The text without its fenced blocks. */
export const prose = (text: string) => text.replaceAll(/^```\w*\n[\s\S]*?^```$/gm, '');

/** Paragraphs, items of lists and rows of tables: code within lines does not go on from one to the next. */
const paragraphs = (text: string) => prose(text).split(/\n\s*\n|\n(?=\s*(?:[-*#>|] |\d+\. ))/);

/** Code within lines, also such as goes on in the next line of its paragraph. */
export const inlineCode = (text: string) =>
  paragraphs(text).flatMap((paragraph) =>
    [...paragraph.matchAll(/(?<!`)(`+)(?!`)([\s\S]+?)(?<!`)\1(?!`)/g)].map(([, , code]) =>
      code!.trim().replaceAll(/\s*\n\s*/g, ' '),
    ),
  );

/** Code that is marked otherwise than the checks look for it: fences that are indented or of tildes, of which one has no end. */
export const strangeFences = (text: string) =>
  [...prose(text).matchAll(/^[ \t]*(?:```|~~~).*$/gm)].map(([line]) => line);

const SHELLS = new Set(['shell', 'sh', 'bash', 'powershell']);

/** Lines of shell blocks, joined where they go on, without comments. */
export function shellLines(text: string): string[] {
  return blocks(text)
    .filter(({ language }) => SHELLS.has(language))
    .flatMap(({ code }) =>
      code
        .replaceAll(/^#.*\n/gm, '')
        .replaceAll(/[\\`]\n/g, ' ')
        .split('\n'),
    )
    .map((line) => line.replace(/ #.*$/, '').trim())
    .filter((line) => line !== '');
}

/** What headings are called in an address, as GitHub has it: the second of one name has -1 behind it. */
export function anchors(text: string): Set<string> {
  const counts = new Map<string, number>();
  const found = new Set<string>();
  for (const [, heading] of prose(text).matchAll(/^#+ (.*)$/gm)) {
    const name = heading!
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replaceAll(/\s/g, '-');
    const count = counts.get(name) ?? 0;
    counts.set(name, count + 1);
    found.add(count === 0 ? name : `${name}-${count}`);
  }
  return found;
}
