/**
 * HTML as a value of its own: what stands in a template is text and is escaped, unless it is `Html` already. So no text
 * of people's data becomes markup because somebody forgot a call.
 */

/** Markup that is whole and safe to stand between tags. */
export class Html {
  constructor(readonly markup: string) {}

  toString(): string {
    return this.markup;
  }
}

export type Content = Html | string | number | null | undefined | false | readonly Content[];

/**
 * A template of markup. Texts and numbers in it are escaped, for attributes in quotes as for what stands between tags;
 * lists are joined; null, undefined and false are nothing.
 */
export function html(parts: TemplateStringsArray, ...values: readonly Content[]): Html {
  let markup = parts[0]!;
  for (const [i, value] of values.entries()) markup += markupOf(value) + parts[i + 1]!;
  return new Html(markup);
}

function markupOf(content: Content): string {
  if (content instanceof Html) return content.markup;
  if (typeof content === 'string') return escaped(content);
  if (typeof content === 'number') return escaped(String(content));
  if (content === null || content === undefined || content === false) return '';
  return content.map(markupOf).join('');
}

const ENTITIES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/**
 * What HTML has no place for or reads as something else (controls but tab and newline, halves of surrogate pairs, two
 * characters that are none), and what turns the direction of the text behind it. Joiners stay: Persian and emoji need them.
 */
const UNSHOWABLE =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: finding them is the purpose
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

/** Text as markup that shows just this text; characters that would not show stand as `\u0007`. */
export function escaped(text: string): string {
  return text
    .replace(UNSHOWABLE, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
    .replace(/[&<>"']/g, (character) => ENTITIES[character]!);
}

/** Text of unknown script and direction: it takes its own direction and turns nothing around it. */
export function foreignText(text: string): Html {
  return html`<bdi>${text}</bdi>`;
}

/** A value for a script of the page, which reads `JSON.parse(document.getElementById(id).textContent)`. */
export function dataBlock(id: string, value: unknown): Html {
  // Without `<` the text can neither end its element nor begin a comment in it.
  const json = JSON.stringify(value).replaceAll('<', '\\u003c');
  return new Html(`<script type="application/json" id="${escaped(id)}">${json}</script>`);
}
