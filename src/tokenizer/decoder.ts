/** The `decoder` of a tokenizer.json: tokens back to a text, for people to read. */
import type { Part } from './part.js';

export type Decoder = (tokens: readonly string[]) => string;

/** Metaspace and WordPiece as in Rust; with any other decoder the tokens are joined by spaces. */
export function decoderFrom(component: Part | undefined): Decoder {
  const type = component?.get('type');
  if (type === 'Metaspace') {
    const mark = component!.has('replacement') ? component!.string('replacement') : '▁';
    return (tokens) => tokens.map((token, i) => token.replaceAll(mark, i === 0 ? '' : ' ')).join('');
  }
  if (type === 'WordPiece') {
    const prefix = component!.has('prefix') ? component!.string('prefix') : '##';
    const cleanup = component!.boolean('cleanup', true);
    return (tokens) =>
      tokens
        .map((token, i) => {
          const piece =
            i > 0 && token.startsWith(prefix) ? token.slice(prefix.length) : i > 0 ? ` ${token}` : token;
          return cleanup ? cleanedUp(piece) : piece;
        })
        .join('');
  }
  return (tokens) => tokens.join(' ');
}

function cleanedUp(text: string): string {
  for (const [before, after] of [
    [' .', '.'],
    [' ?', '?'],
    [' !', '!'],
    [' ,', ','],
    [" ' ", "'"],
    [" n't", "n't"],
    [" 'm", "'m"],
    [' do not', " don't"],
    [" 's", "'s"],
    [" 've", "'ve"],
    [" 're", "'re"],
  ] as const)
    text = text.replaceAll(before, after);
  return text;
}
