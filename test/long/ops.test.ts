/** Every op of the table with the kernels that are made for other adapters than this one; see ops.ts. */
import { testOps, testVariants } from '../ops.js';

testOps();
testVariants({ likely: false });
