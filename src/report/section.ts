/** A part of a report that the reader can go to. */
import { type Content, type Html, html } from '../html/markup.js';
import type { ChartPayload } from './browser/payload.js';
import type { Figure } from './figure.js';

export interface Section {
  readonly id: string;
  readonly title: string;
  readonly content: Content;
  readonly charts?: readonly ChartPayload[];
}

export function sectionOf({ id, title, content }: Section): Html {
  return html`<section aria-labelledby="${id}"><h2 id="${id}">${title}</h2>
${content}
</section>
`;
}

export function chartSection(id: string, title: string, figures: readonly Figure[], more?: Content): Section {
  return {
    id,
    title,
    content: html`<div class="figures">${figures.map((figure) => html`${figure.html}\n`)}</div>${more}`,
    charts: figures.map(({ payload }) => payload),
  };
}

/** Names and values, one under the other. */
export const facts = (rows: readonly (readonly [name: string, value: Content] | false | null)[]): Html =>
  html`<dl>${rows.map((row) => row && html`<dt>${row[0]}</dt><dd>${row[1]}</dd>`)}</dl>`;
