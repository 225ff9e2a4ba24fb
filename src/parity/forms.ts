/**
 * What the JSON files of a folder of goldens must look like, so that one of another form is told as a fault of the file
 * and not met as an exception where it is used. The types stand where the files are used (parity.ts).
 */
import { InputError } from '../errors.js';
import { isJsonObject } from '../files/json.js';
import { printable, show } from '../show.js';

/** `?`: null or absent will do. A list has members of one form; `*` stands for every name of an object. */
type Form =
  | 'text'
  | 'number'
  | 'number?'
  | 'boolean'
  | 'numbers?'
  | readonly [Form]
  | { readonly [name: string]: Form };

const LOSS_CASE: Form = {
  id: 'text',
  B: 'number',
  G: 'number',
  query_max_len: 'number',
  passage_max_len: 'number',
  queries: ['text'],
  passages: ['text'],
  kd_loss_type: 'text',
  teacher_scores: 'numbers?',
  use_self_distill: 'boolean',
  no_in_batch_neg: 'boolean',
  temperature: 'number',
  loss: 'number?',
};

const FORMS = new Map<string, Form>([
  [
    'settings.json',
    {
      pooling: 'text',
      colbert_dim: 'number',
      normalize_embeddings: 'boolean',
      temperature: 'number',
      pad_to_multiple_of: 'number?',
    },
  ],
  ['tokenizer.json', [{ text: 'text', ids: ['number'], ids_max16: ['number'] }]],
  ['loss_cases.json', [LOSS_CASE]],
  [
    'ten_steps.json',
    {
      steps: [
        {
          step: 'number',
          loss: 'number',
          grad_norm: 'number',
          lr: 'number',
          queries: ['text'],
          passages: ['text'],
          teacher_scores: 'numbers?',
        },
      ],
      query_max_len: 'number',
      passage_max_len: 'number',
      weight_decay: 'number',
      max_grad_norm: 'number',
      self_distill_start_step: 'number',
      kd_loss_type: 'text',
      use_self_distill: 'boolean',
      betas: ['number'],
      eps: 'number',
    },
  ],
  [
    'cross_device.json',
    {
      source_case: 'text',
      world_size: 'number',
      per_rank_batch: 'number',
      group: 'number',
      passage_len: 'number',
      cases: [{ name: 'text', losses: ['number'], grad_norm: 'number' }],
    },
  ],
  [
    'encode.json',
    {
      max_length: 'number',
      texts: ['text'],
      lexical_weights: [{ '*': 'number' }],
      pairs: [['text']],
      weights: ['number'],
      scores: { '*': ['number'] },
    },
  ],
]);

/** @throws InputError that names the file and the place in it. */
export function requireGoldenForm(value: unknown, name: string, file: string): void {
  const form = FORMS.get(name);
  if (form) requireForm(value, form, '', file);
}

function requireForm(value: unknown, form: Form, place: string, file: string): void {
  const wrong = (expected: string) =>
    new InputError(
      `${printable(file)}: ${place === '' ? '' : `${printable(place)}: `}expected ${expected}, found ${show(value)}`,
    );
  if (form === 'text') {
    if (typeof value !== 'string') throw wrong('a text');
  } else if (form === 'boolean') {
    if (typeof value !== 'boolean') throw wrong('true or false');
  } else if (form === 'number' || form === 'number?') {
    const absent = form === 'number?' && (value === null || value === undefined);
    if (typeof value !== 'number' && !absent) throw wrong('a number');
  } else if (form === 'numbers?') {
    if (value !== null && value !== undefined) requireForm(value, ['number'], place, file);
  } else if (isList(form)) {
    if (!Array.isArray(value)) throw wrong('a list');
    // Without a case nothing is checked, and all checks would hold.
    if (value.length === 0 && place === '') throw wrong('a list of at least one case');
    for (const [i, member] of value.entries()) requireForm(member, form[0], `${place}[${i}]`, file);
  } else {
    if (!isJsonObject(value)) throw wrong('an object');
    for (const [key, inner] of Object.entries(form))
      for (const each of key === '*' ? Object.keys(value) : [key])
        requireForm(value[each], inner, place === '' ? each : `${place}.${each}`, file);
  }
}

const isList = (form: Form): form is readonly [Form] => Array.isArray(form);
