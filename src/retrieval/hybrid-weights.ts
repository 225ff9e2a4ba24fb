/** The flag `--weights` of commands with hybrid scores. */
import { decimal, type ValueType } from '../flags.js';

/** Three numbers with commas or spaces between them: `1,0.3,1`, `1 0.3 1`. */
export const hybridWeights: ValueType<readonly [dense: number, sparse: number, colbert: number]> = {
  expects: 'three numbers of at least 0, not all of them 0: dense, sparse, ColBERT',
  placeholder: 'D,S,C',
  many: true,
  parse(words) {
    const number = decimal('', (value) => value >= 0);
    const values = words
      .flatMap((word) => word.split(/[\s,]+/))
      .filter((word) => word !== '')
      .map((word) => number.parse([word]));
    const [dense, sparse, colbert, ...more] = values;
    if (dense === undefined || sparse === undefined || colbert === undefined || more.length > 0)
      return undefined;
    return dense + sparse + colbert > 0 ? [dense, sparse, colbert] : undefined;
  },
};
