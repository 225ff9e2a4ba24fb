/** `--wgsl FAMILY`: the WGSL of each variant, of the forms of the family's bench cases. */
import { InputError } from '../../src/errors.js';
import type { Capabilities } from '../../src/gpu/capabilities.js';
import { type Family, formKey } from '../../src/kernels/variants.js';
import { show } from '../../src/show.js';
import { dtypeOf, type Selection } from './select.js';

export interface PrintedSource {
  readonly family: string;
  readonly variant: string;
  readonly why: string;
  /** Its part in a run: a variant may dispatch several. */
  readonly part: string;
  readonly form: object;
  readonly wgsl: string;
}

/** One source a family, variant, part and form; forms of cases that differ in size only are one. */
export function sourcesOf(
  facts: Capabilities,
  family: Family,
  use: 'bench' | 'check',
  { variant: wanted = null, dtype = 'all' }: Partial<Selection> = {},
): PrintedSource[] {
  const sources: PrintedSource[] = [];
  for (const variant of family.variants) {
    if (wanted !== null && wanted !== 'all' && variant.name !== wanted) continue;
    const seen = new Set<string>();
    for (const { form, size, use: usedFor } of family.cases) {
      if (usedFor !== use || (dtype !== 'all' && dtypeOf(form) !== dtype)) continue;
      if (seen.has(formKey(form)) || !variant.supports(facts, form, size)) continue;
      seen.add(formKey(form));
      for (const [part, { source }] of Object.entries(variant.shaders(facts, form)))
        sources.push({
          family: family.name,
          variant: variant.name,
          why: variant.why,
          part,
          form,
          wgsl: source.wgsl,
        });
    }
  }
  return sources;
}

/** All sources as one text, each under a heading. @throws InputError when the flags leave none. */
export function printedSources(
  facts: Capabilities,
  families: readonly Family[],
  name: string,
  selection: Selection,
): string {
  const family = families.find((each) => each.name === name);
  if (!family)
    throw new InputError(
      `--wgsl: expected one of ${families.map((each) => each.name).join(', ')}, found ${show(name)}`,
    );
  const { filter } = selection;
  const sources = sourcesOf(facts, family, 'bench', selection).filter(
    ({ variant, part, form }) => !filter || filter.test(`${variant} ${part} ${formKey(form)}`),
  );
  if (sources.length === 0)
    throw new InputError(
      `--wgsl ${name}: no source is left on ${facts.name}; its variants are ${family.variants.map((variant) => variant.name).join(', ')}`,
    );
  return sources.map(heading).join('\n');
}

function heading({ family, variant, part, form, why, wgsl }: PrintedSource): string {
  return `// ==== ${family} [${variant}] ${part} ====\n// ${why}\n// ${formKey(form).trim()}\n${wgsl.trimEnd()}\n`;
}
