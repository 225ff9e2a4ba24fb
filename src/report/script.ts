/** The scripts of a report, as they stand in the page: uPlot with its licence, and the one that draws with it. */
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import type { PageScript } from '../html/document.js';

const uplotFolder = (): string => path.dirname(createRequire(import.meta.url).resolve('uplot/package.json'));

const read = (file: string) => fs.readFileSync(file, 'utf8').trim();

/** The one style sheet that charts need. */
export function chartStyle(): string {
  return read(path.join(uplotFolder(), 'dist', 'uPlot.min.css'));
}

export function chartScripts(): PageScript[] {
  const folder = uplotFolder();
  const licence = read(path.join(folder, 'LICENSE')).replaceAll('*/', '* /');
  return [
    {
      kind: 'classic',
      source: `/*! uPlot\n${licence}\n*/\n${read(path.join(folder, 'dist', 'uPlot.iife.min.js'))}`,
    },
    { kind: 'module', source: ['numbers.js', 'charts.js'].map(browserModule).join('\n') },
  ];
}

/** A page that is one file has nowhere to import from: its modules stand in it as one, the imported first. */
function browserModule(name: string): string {
  const source = fs.readFileSync(new URL(`./browser/${name}`, import.meta.url), 'utf8');
  return source.replace(/^import [^;]*;\n/gm, '').replace(/^export (?!\{)/gm, '');
}
