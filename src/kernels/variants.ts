/**
 * What a kernel family is: one operation with several ways to compute it, the record that the bench, the tuner and the op
 * tests read, and the choice among the ways on a device.
 *
 * Capabilities are facts about an adapter. Which variant runs is decided here: a forced one, else what the tuner found,
 * else the one whose prior is highest among those that support the form and size.
 */
import { ShapeError } from '../errors.js';
import type { Capabilities } from '../gpu/capabilities.js';
import type { Gpu, ShaderSource } from '../gpu/gpu.js';
import { show } from '../show.js';
import type { Tensor } from '../tensor/tensor.js';

/**
 * `Form`: what the source depends on (layouts, dtypes, head size, flags), a plain object of scalars. `Size`: extents.
 * `Operands`: tensors by name, outputs included.
 */
export interface Variant<Form extends object, Size extends object, Operands> {
  readonly name: string;
  /** One line: what this variant is for. `bench --wgsl` and the page of `bench --html` show it. */
  readonly why: string;
  /**
   * Made for GPUs: a software adapter computes the same, after seconds of compilation and slowly. Tests force it there by
   * name; whoever goes through all variants of a family leaves it out there (`variantsFor`).
   */
  readonly gpuOnly?: true;
  /** Whether it computes this form and size on such an adapter. The first variant of a family answers true always. */
  supports(facts: Capabilities, form: Form, size: Size): boolean;
  /** Rank among the supporting variants without measurement; the highest wins. Below 0 it runs only when
   * it is forced, or when somebody tunes with all variants: it is known to lose on such an adapter. */
  prior(facts: Capabilities, form: Form, size: Size): number;
  /** Epilogues that it computes itself; the family appends the others as passes. */
  readonly fuses?: ReadonlySet<string>;
  /** Bytes of scratch memory that a run takes from the pool, which planning and the bench report. */
  workspace?(facts: Capabilities, form: Form, size: Size): number;
  /** It runs other variants of its family and has no shaders of its own. */
  readonly composed?: true;
  /** Every shader that a run may dispatch, by its part in it. Its source is made from the form (and fixed facts) alone. */
  shaders(facts: Capabilities, form: Form): Readonly<Record<string, { readonly source: ShaderSource }>>;
  run(gpu: Gpu, form: Form, size: Size, operands: Operands): void;
}

export interface Cost {
  /** Floating-point operations that the result needs; what a variant recomputes counts once. */
  readonly flops: number;
  /** Bytes of operands read once and results written once. */
  readonly bytes: number;
}

/** A form and size to check, to time, or both. */
export interface Case<Form extends object, Size extends object> {
  /** Unique within the family, e.g. `1728×384×1536 NT f32`. */
  readonly name: string;
  readonly form: Form;
  readonly size: Size;
  /** `check`: small and ragged, for the tests. `bench`: of the sizes that training meets. */
  readonly use: 'check' | 'bench';
}

/** One case made on a device. */
export interface Trial {
  /** Results, allocated before: the tuner and the bench poison them before each checked run. */
  readonly outputs: readonly Tensor[];
  /** Computes the outputs, by the named variant or by the device's choice. */
  run(variant?: string): void;
  /** The largest error of what the outputs hold, relative to the largest reference value; float64, at probes. */
  error(): Promise<number>;
  dispose(): void;
}

/** How the bench's `--sizes` makes cases of a family. */
export interface SizeReader<Form extends object, Size extends object> {
  /** E.g. `MxKxN`. */
  readonly spelled: string;
  /** The case that these numbers mean in the form of one of the family's bench cases; undefined when they mean none. */
  read(numbers: readonly number[], form: Form): Omit<Case<Form, Size>, 'use'> | undefined;
}

export interface Family<Form extends object = object, Size extends object = object, Operands = unknown> {
  readonly name: string;
  readonly summary: string;
  /** The first always works. */
  readonly variants: readonly [Variant<Form, Size, Operands>, ...Variant<Form, Size, Operands>[]];
  /** A form in a word or two where profiles should tell them apart, e.g. `NT f32`. */
  formName?(form: Form): string;
  /** Sizes for which one choice is made; part of the tuner's key. */
  sizeClass(size: Size): string;
  /** The size that the tuner times for a class, where that need not be as large as what was asked. */
  probe?(size: Size): Size;
  readonly cases: readonly Case<Form, Size>[];
  /** Without it `--sizes` leaves the family out. */
  readonly sizes?: SizeReader<Form, Size>;
  cost(form: Form, size: Size): Cost;
  /** Largest error that a right result may have, in `Trial.error`'s measure. */
  tolerance(form: Form, size: Size): number;
  trial(gpu: Gpu, form: Form, size: Size): Trial;
}

/** Key of the tuner's winners and of shader caches: the form's values in the order of their names. */
export function formKey(form: object): string {
  let key = '';
  for (const name of Object.keys(form).sort()) {
    const value = (form as Readonly<Record<string, unknown>>)[name];
    // What is undefined is lost in files, and must mean the same as what is not there.
    if (value !== undefined) key += `${name}=${value} `;
  }
  return key;
}

/** The variants of a family that are of use on an adapter for a form and size: what bench and tests go through. */
export const variantsFor = <Form extends object, Size extends object, Operands>(
  { variants }: Pick<Family<Form, Size, Operands>, 'variants'>,
  facts: Capabilities,
  form: Form,
  size: Size,
): Variant<Form, Size, Operands>[] =>
  variants.filter((variant) => !(variant.gpuOnly && facts.software) && variant.supports(facts, form, size));

/** What of a family `choose` needs; also for families whose bench record is not written. */
export type Chooseable<Form extends object, Size extends object, Operands> = Pick<
  Family<Form, Size, Operands>,
  'name' | 'variants' | 'sizeClass'
> &
  Partial<Pick<Family<Form, Size, Operands>, 'cost' | 'formName'>>;

/** Runs `variant` of a family, by default the device's choice; profiles count its dispatches as one launch of the family. */
export function runVariant<Form extends object, Size extends object, Operands>(
  gpu: Gpu,
  family: Chooseable<Form, Size, Operands>,
  form: Form,
  size: Size,
  operands: Operands,
  variant: Variant<Form, Size, Operands> = choose(gpu, family, form, size),
): void {
  if (!gpu.profiling) {
    variant.run(gpu, form, size, operands);
    return;
  }
  const kernel = family.formName ? `${family.name} ${family.formName(form)}` : family.name;
  const work = { kernel, variant: variant.name, ...family.cost?.(form, size) };
  gpu.attributed(work, () => variant.run(gpu, form, size, operands));
}

export const choiceKey = <Form extends object, Size extends object, Operands>(
  family: Chooseable<Form, Size, Operands>,
  form: Form,
  size: Size,
): string => `${family.name} ${formKey(form)}${family.sizeClass(size)}`;

/** Sizes that a device remembers decisions for; lengths vary from batch to batch. */
const MOST_DECISIONS = 20_000;

/**
 * The variant that `gpu` uses for this form and size. It depends on them and on the device's choices alone, never on what
 * was asked before, so that a run that is taken up again chooses what the first would have.
 */
export function choose<Form extends object, Size extends object, Operands>(
  gpu: Gpu,
  family: Chooseable<Form, Size, Operands>,
  form: Form,
  size: Size,
): Variant<Form, Size, Operands> {
  const { choices } = gpu;
  const exact = `${family.name} ${formKey(form)}${formKey(size)}`;
  const before = choices.decided.get(exact);
  if (before) return before.variant as Variant<Form, Size, Operands>;
  const key = choiceKey(family, form, size);
  const variant = decide(gpu, family, form, size, key);
  if (choices.decided.size >= MOST_DECISIONS) choices.decided.clear();
  choices.decided.set(exact, { key, family: family.name, form, size, variant });
  return variant;
}

/**
 * The variant of that name or, without a name, the device's choice.
 * @throws RangeError when the family has none of the name, ShapeError when it does not compute this form and size here.
 */
export function variantOf<Form extends object, Size extends object, Operands>(
  gpu: Gpu,
  family: Chooseable<Form, Size, Operands>,
  form: Form,
  size: Size,
  name: string | undefined,
): Variant<Form, Size, Operands> {
  if (name === undefined) return choose(gpu, family, form, size);
  const named = family.variants.find((variant) => variant.name === name);
  if (!named) throw new RangeError(`${family.name}: no variant ${name}`);
  if (!named.supports(gpu.capabilities, form, size))
    throw new ShapeError(
      family.name,
      `the variant ${name} does not compute the form ${show(form)} of size ${show(size)} on this adapter`,
    );
  return named;
}

/** The same anew; with `byRule` as if nobody had forced or tuned anything. */
export function decide<Form extends object, Size extends object, Operands>(
  { choices, capabilities }: Gpu,
  family: Chooseable<Form, Size, Operands>,
  form: Form,
  size: Size,
  key: string,
  { byRule = false } = {},
): Variant<Form, Size, Operands> {
  const fallback = family.variants[0];
  if (choices.forced === 'fallback' && !byRule) return fallback;
  const supporting = family.variants.filter((variant) => variant.supports(capabilities, form, size));
  const named = (name: string | undefined) => supporting.find((variant) => variant.name === name);
  const wanted = byRule
    ? undefined
    : (named(choices.forcedVariant(family.name)) ?? named(choices.winner(key)));
  if (wanted) return wanted;
  let best: Variant<Form, Size, Operands> = fallback;
  let most = fallback.prior(capabilities, form, size);
  for (const variant of supporting) {
    const rank = variant.prior(capabilities, form, size);
    if (rank > most) [best, most] = [variant, rank];
  }
  return best;
}
