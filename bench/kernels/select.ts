/** Which rows a kernel suite measures: cases of its families by the flags, and the variants of each. */
import { InputError } from '../../src/errors.js';
import type { Gpu } from '../../src/gpu/gpu.js';
import { type Case, choose, type Family, type Variant, variantsFor } from '../../src/kernels/variants.js';
import { show } from '../../src/show.js';

export interface Selection {
  readonly filter: RegExp | null;
  readonly sizes: readonly (readonly number[])[] | null;
  readonly dtype: 'f32' | 'f16' | 'all';
  /** A name, `all`, or null: the one that the device chooses. */
  readonly variant: string | null;
}

export type AnyVariant = Variant<object, object, unknown>;

/** One case with the variants that are measured beside each other. */
export interface Selected {
  readonly family: Family;
  readonly case: Omit<Case<object, object>, 'use'>;
  readonly variants: readonly AnyVariant[];
  /** The one that the device chooses. */
  readonly chosen: string;
}

/** Operands of cases that are asked for by size; the host makes and checks them. */
const LARGEST_CASE = 4 * 2 ** 30;

/** f16 when any operand is; sums and statistics are f32 there too. */
export const dtypeOf = (form: object): 'f32' | 'f16' => (Object.values(form).includes('f16') ? 'f16' : 'f32');

/** How a row is named and what `--filter` looks at. */
export const kernelName = (family: Family, name: string): string => `${family.name} ${name}`;

/**
 * @throws InputError, one line, where a flag leaves nothing: a filter that matches nothing, a variant or size that no
 * family has.
 */
export function select(gpu: Gpu, families: readonly Family[], selection: Selection): Selected[] {
  let cases = families.flatMap((family) =>
    casesOf(family, selection.sizes).map((each) => ({ family, each })),
  );
  // Each of the sizes must be somebody's: what is left out is a wrong number of extents.
  for (const numbers of selection.sizes ?? [])
    if (!families.some((family) => casesOf(family, [numbers]).length > 0)) throw noSizes(families, numbers);
  const narrow = (flag: string, keeps: (item: (typeof cases)[number]) => boolean) => {
    const rest = cases.filter(keeps);
    if (rest.length > 0) return rest;
    const names = cases.map(({ family, each }) => kernelName(family, each.name));
    throw new InputError(`${flag}: expected to match one of these, found none: ${list(names)}`);
  };
  const { dtype, filter, variant } = selection;
  if (dtype !== 'all') cases = narrow(`--dtype ${dtype}`, ({ each }) => dtypeOf(each.form) === dtype);
  if (filter) {
    // Sizes are shown with ×, which few keyboards have.
    const matches = (text: string) => filter.test(text) || filter.test(text.replaceAll('×', 'x'));
    cases = narrow(`--filter ${filter.source}`, ({ family, each }) =>
      family.variants.some(({ name }) => matches(`${kernelName(family, each.name)} ${name}`)),
    );
  }
  const selected = cases.map(({ family, each }) => ({
    family,
    case: each,
    variants: variantsOf(gpu, family, each, variant),
    chosen: choose(gpu, family, each.form, each.size).name,
  }));
  const rows = selected.filter(({ variants }) => variants.length > 0);
  if (rows.length > 0) return rows;
  const there = [...new Set(cases.flatMap(({ family }) => family.variants.map(({ name }) => name)))];
  throw new InputError(
    there.includes(variant!)
      ? `--variant ${variant}: ${gpu.capabilities.name} supports it in none of the ${cases.length} cases that are left`
      : `--variant: expected all or one of ${there.join(', ')}, found ${show(variant)}`,
  );
}

function casesOf(family: Family, sizes: Selection['sizes']): Omit<Case<object, object>, 'use'>[] {
  const cases = family.cases.filter(({ use }) => use === 'bench');
  const { sizes: reader } = family;
  if (!sizes) return cases;
  if (!reader) return [];
  const made = new Map<string, Omit<Case<object, object>, 'use'>>();
  for (const numbers of sizes)
    for (const { form } of cases) {
      const each = reader.read(numbers, form);
      if (!each) continue;
      const { bytes } = family.cost(each.form, each.size);
      if (!(bytes <= LARGEST_CASE))
        throw new InputError(
          `--sizes ${numbers.join('x')}: expected operands of at most 4 GiB, found ${(bytes / 2 ** 30).toFixed(1)} GiB`,
        );
      made.set(each.name, each);
    }
  return [...made.values()];
}

function noSizes(families: readonly Family[], numbers: readonly number[]): InputError {
  const spelled = new Set(families.flatMap((family) => family.sizes?.spelled ?? []));
  const found = numbers.join('x');
  return new InputError(
    spelled.size === 0
      ? `--sizes: no kernel of this suite takes sizes, found ${found}`
      : `--sizes: expected ${[...spelled].join(' or ')}, found ${found}`,
  );
}

function variantsOf(
  gpu: Gpu,
  family: Family,
  { form, size }: Omit<Case<object, object>, 'use'>,
  wanted: string | null,
): readonly AnyVariant[] {
  if (wanted === null) return [choose(gpu, family, form, size)];
  if (wanted === 'all') return variantsFor(family, gpu.capabilities, form, size);
  return family.variants.filter(
    (variant) => variant.name === wanted && variant.supports(gpu.capabilities, form, size),
  );
}

const MOST_NAMES = 12;

function list(names: readonly string[]): string {
  const more = names.length - MOST_NAMES;
  return names.slice(0, MOST_NAMES).join('; ') + (more > 0 ? `; and ${more} more` : '');
}
