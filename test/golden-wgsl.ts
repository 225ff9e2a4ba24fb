/**
 * The WGSL texts in test/golden/wgsl: of every variant of every kernel family the shortest of the forms that the
 * family's record checks, for adapters that are made up here. They are there so that a review sees what a change of a
 * kernel changes in the shaders; `npm run wgsl` writes them anew. Of unrolled kernels the middle is left out.
 */
import { createHash } from 'node:crypto';
import { sourcesOf } from '../bench/kernels/sources.js';
import type { Capabilities } from '../src/gpu/capabilities.js';
import { families } from '../src/kernels/families.js';
import { type Family, formKey } from '../src/kernels/variants.js';

const common = {
  driver: 'made up',
  shaderF16: true,
  subgroups: true,
  timestamps: true,
  maxBufferSize: 2 ** 31,
  bindingAlignment: 256,
  maxWorkgroupsPerDimension: 65535,
  maxWorkgroupInvocations: 1024,
};

/** Lavapipe with AVX-512; a GPU with matrix units; lavapipe on a CPU without AVX-512, and of a newer Mesa. */
const ADAPTERS: readonly Capabilities[] = [
  {
    ...common,
    name: 'a CPU',
    software: true,
    cpu: { model: 'a CPU', avx512: true },
    subgroupMinSize: 8,
    subgroupMaxSize: 8,
    subgroupMatrixConfigs: [],
    maxBindingSize: 2 ** 27,
    maxTextureSize: 16384,
    maxWorkgroupMemory: 32768,
  },
  {
    ...common,
    name: 'a GPU',
    software: false,
    subgroupMinSize: 32,
    subgroupMaxSize: 32,
    subgroupMatrixConfigs: [
      { componentType: 'f16', resultComponentType: 'f32', M: 16, N: 16, K: 16 },
      { componentType: 'f16', resultComponentType: 'f32', M: 16, N: 8, K: 16 },
      { componentType: 'f16', resultComponentType: 'f32', M: 8, N: 8, K: 8 },
    ],
    maxBindingSize: 2 ** 31 - 4,
    maxTextureSize: 32768,
    maxWorkgroupMemory: 49152,
  },
  {
    ...common,
    name: 'a smaller CPU',
    software: true,
    cpu: { model: 'a CPU', avx512: false },
    subgroupMinSize: 8,
    subgroupMaxSize: 8,
    subgroupMatrixConfigs: [
      { componentType: 'f16', resultComponentType: 'f32', M: 8, N: 8, K: 8 },
      { componentType: 'f16', resultComponentType: 'f16', M: 8, N: 8, K: 8 },
    ],
    maxBindingSize: 2 ** 27,
    maxTextureSize: 16384,
    maxWorkgroupMemory: 32768,
  },
];

/** Whether a variant runs shaders of other variants only. */
const ofOthers = ({ variants, cases }: Family, name: string): boolean =>
  ADAPTERS.some((facts) =>
    cases.some(({ form, size }) => {
      const variant = variants.find((each) => each.name === name)!;
      return variant.supports(facts, form, size) && Object.keys(variant.shaders(facts, form)).length === 0;
    }),
  );

/** Lines that are kept of the beginning and the end of a text, and the characters from which its middle is left out. */
const [HEAD, TAIL, LONG] = [150, 40, 16_384] as const;

/** A middle that changes is seen by its hash; `bench --wgsl` prints it. */
function shortened(wgsl: string): string {
  const lines = wgsl.trimEnd().split('\n');
  if (wgsl.length < LONG || lines.length <= HEAD + TAIL) return lines.join('\n');
  const middle = lines.slice(HEAD, -TAIL);
  const hash = createHash('sha256').update(middle.join('\n')).digest('hex').slice(0, 16);
  const left = `// … ${middle.length} lines are left out here, with the SHA-256 ${hash} …`;
  return [...lines.slice(0, HEAD), left, ...lines.slice(-TAIL)].join('\n');
}

/** Texts by the name of their file. @throws when a variant supports none of its family's cases on any of the adapters. */
export function goldenWgsl(): Map<string, string> {
  const texts = new Map<string, string>();
  for (const family of families)
    for (const { name, why } of family.variants) {
      const found = ADAPTERS.flatMap((facts) =>
        (['check', 'bench'] as const).map((use) => ({
          facts,
          sources: sourcesOf(facts, family, use, { variant: name }),
        })),
      ).find(({ sources }) => sources.length > 0);
      if (!found && ofOthers(family, name)) continue;
      if (!found) throw new Error(`${family.name} [${name}]: no adapter of test/golden-wgsl.ts supports it`);
      const { facts, sources } = found;
      // The shortest of its forms says as much as the others, and unrolled ones can be long.
      const lengths = new Map<string, number>();
      for (const { form, wgsl } of sources)
        lengths.set(formKey(form), (lengths.get(formKey(form)) ?? 0) + wgsl.length);
      const shortest = [...lengths].reduce((a, b) => (b[1] < a[1] ? b : a))[0];
      for (const { part, form, wgsl } of sources)
        if (formKey(form) === shortest)
          texts.set(
            `${family.name}.${name}.${part}.wgsl`,
            `// ${why}\n// ${facts.name}: ${shortest.trim()}\n${shortened(wgsl)}\n`,
          );
    }
  return texts;
}
