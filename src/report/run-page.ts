/** The report of one run: a page that needs nothing else. */
import { htmlDocument } from '../html/document.js';
import { type Content, dataBlock, html } from '../html/markup.js';
import type { RunRecord } from '../run-record/record.js';
import { courseSections } from './course.js';
import { dataSection } from './data.js';
import { evaluationSection } from './evaluations.js';
import { headline } from './headline.js';
import { memorySection } from './memory.js';
import { retrievalSection } from './retrieval.js';
import { chartScripts, chartStyle } from './script.js';
import { type Section, sectionOf } from './section.js';
import { settingsSection } from './settings.js';
import { REPORT_STYLE } from './style.js';
import { environmentSection, modelSection, noticesSection } from './surroundings.js';

/** Begins each report that this program writes: nothing else is overwritten. */
export const REPORT_MARK = '<!-- dawntune run report -->';

/** @returns the text of report.html. */
export function runPage(record: RunRecord): string {
  return reportPage(`Run report: ${record.model.base}`, headline(record), [
    ...courseSections(record),
    evaluationSection(record),
    retrievalSection(record),
    memorySection(record),
    dataSection(record),
    settingsSection(record),
    modelSection(record),
    environmentSection(record),
    noticesSection(record),
  ]);
}

/** The frame of a report: its head, where to go, its sections, and the script where there are charts. */
export function reportPage(title: string, head: Content, parts: readonly (Section | undefined)[]): string {
  const sections = parts.filter((part) => part !== undefined);
  const charts = sections.flatMap(({ charts }) => charts ?? []);
  const body = html`${head}
<nav aria-label="Sections"><ul>${sections.map(({ id, title }) => html`<li><a href="#${id}">${title}</a></li>`)}</ul></nav>
<main>
${charts.length > 0 && html`<noscript><p class="reason">Without scripts the charts stay empty; the table below each has its numbers.</p></noscript>`}
${sections.map(sectionOf)}</main>
<footer class="soft">${charts.length > 0 && html`<p>Drag over a chart to zoom in, double click to zoom out; a click on a name switches its curve. With the keyboard: arrows, Home and End go along a chart, Escape zooms out.</p>`}<p>Times are UTC. Made by dawntune; charts by uPlot (MIT), whose licence stands in this file.</p></footer>
${charts.length > 0 && dataBlock('charts', charts)}`;
  const page = htmlDocument({
    title,
    style: charts.length > 0 ? chartStyle() + REPORT_STYLE : REPORT_STYLE,
    body,
    scripts: charts.length > 0 ? chartScripts() : [],
  });
  return page.replace('<!doctype html>\n', `<!doctype html>\n${REPORT_MARK}\n`);
}
