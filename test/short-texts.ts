/** A few short texts, the same each time: queries, and passages of which two are a query and one is empty. */
import { CounterRandom } from '../src/tensor/random.js';

const WORDS = [
  'river',
  'paris',
  'engine',
  'tensor',
  'moon',
  'bread',
  'city',
  'stone',
  'light',
  'ocean',
  'winter',
  'music',
];
const random = new CounterRandom(9);
const sentence = (most: number) =>
  Array.from({ length: 1 + random.int(most) }, () => WORDS[random.int(WORDS.length)]!).join(' ');
export const queries = Array.from({ length: 7 }, () => sentence(4));
export const passages = [...Array.from({ length: 60 }, () => sentence(9)), queries[2]!, '', queries[2]!];
