/**
 * Dawn's null backend checks WGSL and pipelines without an adapter: every variant of every kernel family is compiled for
 * imagined GPUs, since kernels that no machine at hand runs would otherwise be seen first where they fail.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Capabilities } from '../src/gpu/capabilities.js';
import { Gpu, type ShaderSource } from '../src/gpu/gpu.js';
import { gpuWait } from '../src/gpu/wait.js';
import { families } from '../src/kernels/families.js';
import { formKey } from '../src/kernels/variants.js';
import { imaginedGpus } from './imagined-gpus.js';

describe('kernels compile for GPUs that are not here', () => {
  let gpu: Gpu;
  before(async () => {
    gpu = await Gpu.open({ backend: 'null' });
    assert.ok(gpu.capabilities.shaderF16 && gpu.capabilities.subgroups);
  });
  after(() => gpu.close());

  /** Within what the backend's own limits are; of a workgroup beyond them it tells the extent. */
  const BEYOND = [
    [/total use of workgroup storage \((\d+) bytes\)/, 'maxWorkgroupMemory'],
    [/total number of workgroup invocations \((\d+)\)/, 'maxWorkgroupInvocations'],
  ] as const;

  const compiled = new Map<string, string | undefined>();
  /** What Dawn says of a source, if anything. */
  async function fault({ label, wgsl }: ShaderSource): Promise<string | undefined> {
    if (compiled.has(wgsl)) return compiled.get(wgsl);
    const { device } = gpu;
    device.pushErrorScope('validation');
    const module = device.createShaderModule({ label, code: wgsl });
    // This backend lists no shapes of subgroup matrices, and so makes no pipelines of them.
    if (!wgsl.includes('subgroup_matrix'))
      device.createComputePipeline({ label, layout: 'auto', compute: { module, entryPoint: 'main' } });
    const message = (await gpuWait(device.popErrorScope()))?.message;
    compiled.set(wgsl, message);
    return message;
  }

  /** Bytes of workgroup memory, of sources whose pipelines are not made here. */
  function workgroupBytes(wgsl: string): number {
    const bytes: Record<string, number> = { f16: 2, f32: 4, u32: 4, vec2u: 8, vec4u: 16, vec4f: 16 };
    let total = 0;
    for (const [declaration, type] of wgsl.matchAll(/var<workgroup> \w+: (.*);/g)) {
      const [, element = '', count] = /^array<(\w+), (\d+)>$/.exec(type!) ?? [];
      assert.ok(bytes[element] && count, `${declaration}: of how many bytes?`);
      total += bytes[element] * Number(count);
    }
    return total;
  }

  const within = (facts: Capabilities, message: string | undefined): boolean =>
    message === undefined ||
    BEYOND.some(([pattern, limit]) => Number(pattern.exec(message)?.[1] ?? Infinity) <= facts[limit]);

  const tried = new Set<string>();
  for (const facts of Object.values(imaginedGpus))
    test(facts.name, async () => {
      for (const family of families)
        for (const variant of family.variants) {
          const forms = new Map<string, { name: string; form: object }>();
          for (const { name, form, size } of family.cases)
            if (variant.supports(facts, form, size)) forms.set(formKey(form), { name, form });
          for (const { name, form } of forms.values()) {
            const parts = Object.entries(variant.shaders(facts, form));
            tried.add(`${family.name} ${variant.name}`);
            const has = parts.length > 0 !== (variant.composed === true);
            assert.ok(has, `${family.name} ${variant.name} has shaders for ${name}`);
            for (const [part, { source }] of parts) {
              const message = await fault(source);
              const what = `${family.name} ${variant.name} (${part}), ${name}`;
              assert.ok(within(facts, message), `${what}: ${message}`);
              if (source.wgsl.includes('subgroup_matrix')) {
                const bytes = workgroupBytes(source.wgsl);
                assert.ok(bytes <= facts.maxWorkgroupMemory, `${what}: ${bytes} bytes of workgroup memory`);
              }
            }
          }
        }
    });

  test('no variant was left out', () => {
    for (const { name, variants } of families)
      for (const variant of variants)
        if (variant.gpuOnly) assert.ok(tried.has(`${name} ${variant.name}`), `${name} ${variant.name}`);
  });
});
