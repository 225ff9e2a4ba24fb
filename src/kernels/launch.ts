/** All of src/kernels/launch/, for kernels that still import it as one. */
export * from './launch/formats.js';
export * from './launch/grid.js';
export * from './launch/operands.js';
export * from './launch/rows.js';
export * from './launch/shader.js';
