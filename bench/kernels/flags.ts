/** The flags of the kernel suites. */
import {
  adapterFlag,
  choice,
  debugFlag,
  decimal,
  group,
  optional,
  progressFlag,
  text,
  type ValueType,
  withDefault,
} from '../../src/flags.js';
import { compareFlags, formatFlags } from '../report/flags.js';

const pattern: ValueType<RegExp> = {
  expects: 'a regular expression',
  placeholder: 'REGEX',
  many: false,
  parse([word]) {
    try {
      return word === '' ? undefined : new RegExp(word!, 'i');
    } catch {
      return undefined;
    }
  },
};

const MOST_EXTENT = 1 << 24;

/** `512x512x512,1728x384x1536`: extents of at least 1, separated by x; sizes by commas or blanks. */
const sizeList: ValueType<number[][]> = {
  expects: 'sizes such as 512x512x512,1728x384x1536',
  placeholder: 'SIZES',
  many: true,
  parse(words) {
    const sizes = words
      .flatMap((word) => word.split(','))
      .map((size) => (/^\d+([x×]\d+)*$/i.test(size) ? size.split(/[x×]/i).map(Number) : []));
    const fits = (numbers: number[]) =>
      numbers.length > 0 && numbers.every((extent) => extent >= 1 && extent <= MOST_EXTENT);
    return sizes.length > 0 && sizes.every(fits) ? sizes : undefined;
  },
};

export const kernelsFlags = {
  ...group('Which rows', {
    filter: optional(pattern, 'only rows whose name (kernel, case, variant) matches'),
    sizes: optional(
      sizeList,
      'these sizes instead of the usual cases, e.g. 512x512x512,1728x384x1536 (products M×K×N); kernels that take no such size are left out',
    ),
    dtype: withDefault(choice(['f32', 'f16', 'all']), 'all', 'format of the operands'),
    variant: optional(
      text('a name of a variant, or all'),
      'this variant instead of the one that the device chooses; all: every variant that the adapter supports, side by side; a software adapter leaves out those made for GPUs, which it takes by name',
    ),
  }),
  ...group('Measuring', {
    min_time: withDefault(
      decimal('a number of seconds from 0.01 to 3600', (value) => value >= 0.01 && value <= 3600),
      0.25,
      'seconds to spend on the samples of a row',
    ),
  }),
  ...formatFlags,
  ...group('Output', {
    html: optional(
      text('a path'),
      'write a page with charts and a table here; it needs nothing but a browser',
    ),
    wgsl: optional(
      text('a kernel family'),
      'print the WGSL of each variant of this kernel family for the adapter, and measure nothing',
    ),
  }),
  ...compareFlags,
  ...progressFlag,
  ...adapterFlag,
  ...debugFlag,
};
