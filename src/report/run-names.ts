/** Names of runs that are compared: folders, of which the page says what tells them apart. */
import { type Html, html } from '../html/markup.js';
import { SERIES_COLOURS } from '../html/style.js';

/** Longer ones lose their middle, which names that were made by a program share. */
const LONGEST = 28;

/** The same names without the folders that all are in, and short; as they were where two would be one. */
export function shortNames(names: readonly string[]): string[] {
  const parts = names.map((name) => name.split(/(?<=[/\\])/));
  let common = 0;
  while (parts.every((own) => common < own.length - 1 && own[common] === parts[0]![common])) common++;
  const bare = parts.map((own) => own.slice(common).join(''));
  const cut = bare.map(withoutMiddle);
  return cut.map((name, i) => (cut.indexOf(name) === cut.lastIndexOf(name) ? name : bare[i]!));
}

function withoutMiddle(name: string): string {
  const characters = [...name];
  if (characters.length <= LONGEST) return name;
  const half = LONGEST / 2;
  return `${characters.slice(0, half).join('')}…${characters.slice(1 - half).join('')}`;
}

/** A name that may break behind what parts its words, and nowhere else where there is room for them. */
export const runName = (name: string): Html =>
  html`<bdi>${name.split(/(?<=[/\\_.-])(?=[^/\\_.-])/).map((word) => html`${word}<wbr>`)}</bdi>`;

/** Above a column, with the colour that the run has in charts. */
export const runTitle = (name: string, index: number): Html =>
  html`<i class="run s${index % SERIES_COLOURS}"></i> ${runName(name)}`;
