/** The `post_processor` of a tokenizer.json: the special ids around a single text. Pairs are in pairs.ts. */
import { isId, type Part } from './part.js';

export interface Around {
  readonly prefix: readonly number[];
  readonly suffix: readonly number[];
}

/** More would leave no room for a text; published ones have one or two. */
const MOST_SPECIALS = 64;

/** @throws InputError for an unknown type, and for a template without the text or with more of it than once. */
export function specialsAround(component: Part | undefined): Around {
  if (component === undefined) return { prefix: [], suffix: [] };
  const make = PROCESSORS.get(component.get('type') as string);
  if (make === undefined) return component.fail('type', `one of ${[...PROCESSORS.keys()].join(', ')}`);
  const around = make(component);
  if (around.prefix.length + around.suffix.length > MOST_SPECIALS)
    component.fail(
      'type',
      `at most ${MOST_SPECIALS} special ids`,
      around.prefix.length + around.suffix.length,
    );
  return around;
}

const PROCESSORS = new Map<string, (component: Part) => Around>([
  ['ByteLevel', () => ({ prefix: [], suffix: [] })],
  [
    'Sequence',
    (component) => {
      const prefix: number[] = [];
      const suffix: number[] = [];
      for (const step of component.parts('processors').map(specialsAround)) {
        prefix.unshift(...step.prefix);
        suffix.push(...step.suffix);
      }
      return { prefix, suffix };
    },
  ],
  ['BertProcessing', clsAndSep],
  ['RobertaProcessing', clsAndSep],
  ['TemplateProcessing', template],
]);

function clsAndSep(component: Part): Around {
  const id = (key: string) => {
    const [content, found, ...more] = component.list(key);
    if (typeof content !== 'string' || !isId(found) || more.length > 0)
      component.fail(key, 'a token and its id');
    return found as number;
  };
  return { prefix: [id('cls')], suffix: [id('sep')] };
}

/** The ids that a template's special token of this name stands for. */
export function templateIds(component: Part, name: string): readonly number[] {
  const token = component.part('special_tokens').part(name);
  const ids = token.list('ids');
  if (ids.length > MOST_SPECIALS || !ids.every(isId)) token.fail('ids', 'a list of ids');
  return ids as number[];
}

function template(component: Part): Around {
  const prefix: number[] = [];
  const suffix: number[] = [];
  let texts = 0;
  for (const item of component.parts('single')) {
    if (item.has('Sequence')) {
      item.part('Sequence').oneOf('id', ['A']);
      texts++;
    } else
      (texts === 0 ? prefix : suffix).push(...templateIds(component, item.part('SpecialToken').string('id')));
    if (prefix.length + suffix.length > MOST_SPECIALS) break;
  }
  if (texts !== 1) component.fail('single', 'the text, {"Sequence":{"id":"A"}}, once');
  return { prefix, suffix };
}
