/** A page of its own: one file of HTML with style and scripts inside, which fetches nothing and runs nothing else. */
import { createHash } from 'node:crypto';
import { type Content, Html, html } from './markup.js';
import { STYLE } from './style.js';

export interface HtmlDocument {
  readonly title: string;
  /** Behind the style of all pages. */
  readonly style: string;
  readonly body: Content;
  /** Run in this order when the body is there. */
  readonly scripts?: readonly PageScript[];
}

export interface PageScript {
  readonly source: string;
  readonly kind: 'classic' | 'module';
}

/** @returns the text of the file. The browser itself is told to load nothing and to run these scripts alone. */
export function htmlDocument({ title, style, body, scripts = [] }: HtmlDocument): string {
  const sources = scripts.map(({ source }) => source.replaceAll('</script', '<\\/script'));
  const hashes = sources.map((source) => `'sha256-${createHash('sha256').update(source).digest('base64')}'`);
  const policy = [
    "default-src 'none'",
    "style-src 'unsafe-inline'",
    ...(hashes.length > 0 ? [`script-src ${hashes.join(' ')}`] : []),
  ].join('; ');
  const tags = sources.map(
    (source, i) =>
      new Html(`<script${scripts[i]!.kind === 'module' ? ' type="module"' : ''}>${source}</script>\n`),
  );
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<title>${title}</title>
<style>${new Html(STYLE + style)}</style>
</head>
<body>
${body}
${tags}</body>
</html>
`.markup;
}
