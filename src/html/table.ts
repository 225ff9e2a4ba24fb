/** Tables: columns of text and of numbers, which stand to the right; wide ones scroll within themselves. */
import { type Content, Html, html } from './markup.js';

export interface Column {
  readonly title: Content;
  readonly number?: boolean;
}

/** A cell that looks otherwise than its column: by a class of the page's style, or as a part of a heat map. */
export interface Cell {
  readonly content: Content;
  readonly looks?: string;
  /** From 0 to 1. */
  readonly heat?: number;
}

export type Row = readonly (Content | Cell)[];

/** @param rows cells in the order of the columns. @param label says what the table is to those who do not see it. */
export function table(columns: readonly Column[], rows: readonly Row[], label: string): Html {
  const head = columns.map(({ title, number }) => html`<th scope="col"${kind(number && 'n')}>${title}</th>`);
  const body = rows.map((row) => html`<tr>${row.map((cell, i) => cellOf(cell, columns[i]!))}</tr>\n`);
  return html`<div class="scroll" role="region" aria-label="${label}" tabindex="0"><table><thead><tr>${head}</tr></thead><tbody>${body}</tbody></table></div>`;
}

function cellOf(cell: Content | Cell, { number }: Column): Html {
  const { content, looks, heat } = isCell(cell) ? cell : { content: cell };
  const shade = heat === undefined ? 0 : 0.04 + 0.5 * Math.min(1, Math.max(0, heat));
  const style = heat !== undefined && html` style="background:rgba(var(--heat),${shade.toFixed(3)})"`;
  return html`<td${kind(number && 'n', looks)}${style}>${content}</td>`;
}

const kind = (...classes: readonly (string | false | undefined)[]): Html | false =>
  classes.some(Boolean) && html` class="${classes.filter(Boolean).join(' ')}"`;

const isCell = (cell: Content | Cell): cell is Cell =>
  typeof cell === 'object' && cell !== null && !(cell instanceof Html) && 'content' in cell;
