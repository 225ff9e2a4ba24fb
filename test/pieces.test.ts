/** Every op on tensors and grids that are cut into pieces, in f32 with the kernels that suit the adapter; see pieces.ts. */
import { testPieces } from './pieces.js';

testPieces(undefined, false);
