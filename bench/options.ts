/** The flags of the suites that train: parsed, checked, with the error that names the flag. */
import { parseArgs } from 'node:util';
import { InputError } from '../src/errors.js';

export interface BenchOptions {
  json: boolean;
  adapter: string | undefined;
  model: string;
  layers: number | undefined;
  data: string | undefined;
  batch: number;
  group: number;
  queryMaxLen: number;
  passageMaxLen: number;
  steps: number;
  fp16: boolean;
  gradientCheckpointing: boolean;
  subBatchSize: number | null;
  run: boolean;
  long: boolean;
}

const options = {
  json: { type: 'boolean', default: false },
  adapter: { type: 'string' },
  model: { type: 'string' },
  layers: { type: 'string' },
  data: { type: 'string' },
  batch: { type: 'string' },
  group: { type: 'string' },
  query_max_len: { type: 'string' },
  passage_max_len: { type: 'string' },
  steps: { type: 'string' },
  fp16: { type: 'boolean', default: false },
  gradient_checkpointing: { type: 'boolean', default: false },
  sub_batch_size: { type: 'string' },
  run: { type: 'boolean', default: false },
  long: { type: 'boolean', default: false },
} as const;

type Name = keyof typeof options;

/** `allowed`: the flags this suite knows. @throws InputError naming the flag. */
export function parseBench(
  suite: string,
  argv: readonly string[],
  allowed: readonly Name[],
  defaults: Pick<BenchOptions, 'model' | 'batch' | 'group' | 'queryMaxLen' | 'passageMaxLen'>,
): BenchOptions {
  let values: ReturnType<typeof parseArgs<{ options: typeof options }>>['values'];
  try {
    const known = Object.fromEntries(allowed.map((name) => [name, options[name]]));
    values = parseArgs({ args: [...argv], options: known }).values as typeof values;
  } catch (error) {
    throw new InputError(`bench ${suite}: ${(error as Error).message.split('\n')[0]}`);
  }
  const count = <T>(name: Name, fallback: T): number | T => {
    const value = values[name];
    if (value === undefined) return fallback;
    if (typeof value !== 'string' || !/^[1-9]\d*$/.test(value))
      throw new InputError(`--${name}: expected a positive integer, found "${value}"`);
    return Number(value);
  };
  const length = (name: Name, fallback: number): number => {
    const value = count(name, fallback);
    if (value < 3) throw new InputError(`--${name}: expected at least 3, found ${value}`);
    return value;
  };
  return {
    json: values.json === true,
    adapter: values.adapter,
    model: values.model ?? defaults.model,
    layers: count('layers', undefined),
    data: values.data,
    batch: count('batch', defaults.batch),
    group: count('group', defaults.group),
    queryMaxLen: length('query_max_len', defaults.queryMaxLen),
    passageMaxLen: length('passage_max_len', defaults.passageMaxLen),
    steps: count('steps', 3),
    fp16: values.fp16 === true,
    gradientCheckpointing: values.gradient_checkpointing === true,
    subBatchSize: count('sub_batch_size', null),
    run: values.run === true,
    long: values.long === true,
  };
}
