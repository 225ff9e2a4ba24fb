/** Every op on tensors and grids that are cut into pieces: in f16, and with the other sets of kernels. */
import { kernelSets } from '../kernel-sets.js';
import { testPieces } from '../pieces.js';

testPieces(undefined, true);
for (const kernels of kernelSets) {
  testPieces(kernels, false);
  testPieces(kernels, true);
}
