/**
 * The two kinds of failure that reach a user.
 *
 * InputError: something the user gave is wrong (a file, a line, a flag, a tensor); exit code 2.
 * MachineError: the machine could not do it (no adapter, memory, device lost, a rank died); exit code 1.
 * Both carry a one-line message; a stack trace is printed only with `--debug`.
 */
export class InputError extends Error {
  readonly exitCode = 2;
  override name = 'InputError';
}

export class MachineError extends Error {
  readonly exitCode = 1;
  override name = 'MachineError';
}

/** Wrong tensor shapes or dtypes: names the op, e.g. `matmul: inner dimensions differ: [8,64] · [32,16] (f32,f32)`. */
export class ShapeError extends InputError {
  override name = 'ShapeError';
}
