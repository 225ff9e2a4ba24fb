/** Markup of the pages: texts of any kind show as they are, and a page runs and loads nothing but its own. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { htmlDocument } from '../src/html/document.js';
import { dataBlock, escaped, foreignText, html } from '../src/html/markup.js';
import { table } from '../src/html/table.js';

test('what stands in a template is text, unless it is markup already', () => {
  const nasty = `</script><b a='1' b="2">&amp;`;
  const shown = '&lt;/script&gt;&lt;b a=&#39;1&#39; b=&quot;2&quot;&gt;&amp;amp;';
  assert.equal(html`<p title="${nasty}">${nasty}</p>`.markup, `<p title="${shown}">${shown}</p>`);
  assert.equal(html`${html`<i>${nasty}</i>`}`.markup, `<i>${shown}</i>`);
  assert.equal(html`${['a<', html`<br>`, [1, null, false, undefined]]}`.markup, 'a&lt;<br>1');
});

test('controls, halves of pairs and turners of direction are shown; scripts and emoji stay whole', () => {
  assert.equal(escaped('a\u0000\u0007\r\u009b\ufffe'), 'a\\u0000\\u0007\\u000d\\u009b\\ufffe');
  assert.equal(escaped('\ud83d \u202egnp\u2066'), '\\ud83d \\u202egnp\\u2066');
  const kept = 'می‌خواهم 👩‍👩‍👧 שלום\t\n';
  assert.equal(escaped(kept), kept);
  assert.equal(foreignText('<שלום').markup, '<bdi>&lt;שלום</bdi>');
});

test('a block of data comes back from its element as it was', () => {
  const value = { '</script><!--': ['<!--<script>', '\u2028', '😀', ']]>', null] };
  const { markup } = dataBlock('data', value);
  const [, inside] = /^<script type="application\/json" id="data">([^<]*)<\/script>$/.exec(markup)!;
  assert.deepEqual(JSON.parse(inside!), value);
});

test('a document lets a browser load nothing and run its own scripts alone', () => {
  const page = htmlDocument({
    title: '</title><script>',
    style: 'p{color:red}',
    body: html`<p>text</p>`,
    scripts: [{ source: 'const a = "</script>";', kind: 'classic' }],
  });
  const [, source] = /<script>(.*)<\/script>/.exec(page)!;
  assert.equal(source, 'const a = "<\\/script>";');
  const hash = createHash('sha256').update(source!).digest('base64');
  assert.ok(page.includes(`script-src &#39;sha256-${hash}&#39;`));
  assert.match(page, /default-src &#39;none&#39;/);
  assert.equal(page.match(/<script/g)!.length, 1);
  assert.doesNotMatch(htmlDocument({ title: '', style: '', body: '' }), /script/);
});

test('cells stand as their columns, or by their own looks', () => {
  const { markup } = table(
    [{ title: 'a<' }, { title: 'b', number: true }],
    [['x&', { content: 1, looks: 'best', heat: 2 }]],
    'label',
  );
  assert.ok(markup.includes('<th scope="col">a&lt;</th><th scope="col" class="n">b</th>'));
  assert.ok(
    markup.includes('<td>x&amp;</td><td class="n best" style="background:rgba(var(--heat),0.540)">1</td>'),
  );
});
