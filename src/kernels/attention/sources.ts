/** What the kernels of attention read rows from: the tensors themselves, or textures of them that are given back after. */
import { ShapeError } from '../../errors.js';
import type { RowTexture } from '../../gpu/gpu.js';
import { bytesPerElement, type Tensor } from '../../tensor/tensor.js';
import type { AttentionKernels } from './form.js';

/** @throws ShapeError when rows do not fit a texture. */
export function withSources(
  { reads }: AttentionKernels,
  tensors: readonly Tensor[],
  use: (sources: readonly (Tensor | RowTexture)[]) => void,
): void {
  if (reads === 'buffers') {
    use(tensors);
    return;
  }
  // Nothing is launched on no rows, and no texture is that small.
  if (tensors[0]!.rows === 0) return;
  const textures: RowTexture[] = [];
  try {
    for (const x of tensors) {
      const texture = x.gpu.rowTexture(
        x.binding(),
        x.cols * bytesPerElement[x.dtype],
        x.rows,
        x.dtype === 'f16' ? 'rgba16float' : 'rgba32float',
      );
      if (!texture) throw new ShapeError('attention', 'does not fit a texture', { x });
      textures.push(texture);
    }
    use(textures);
  } finally {
    for (const texture of textures) tensors[0]!.gpu.releaseTexture(texture);
  }
}
