/**
 * The kinds of failure that reach a user.
 *
 * InputError: something the user gave is wrong (a file, a line, a flag, a tensor); exit code 2.
 * MachineError: the machine could not do it (no adapter, memory, device lost, a rank died); exit code 1.
 * Both carry a one-line message, an InputError of many faults the others in lines below it; a stack trace is printed
 * only with `--debug`.
 */
export class InputError extends Error {
  /** Of a command that ends with it. */
  readonly exitCode = 2;
  override name = 'InputError';

  /** `more`: lines for people that belong below the message, such as other rows at fault. */
  constructor(
    message: string,
    /** Lines for people, below the message. */
    readonly more: readonly string[] = [],
  ) {
    super(message);
  }
}

/** The machine could not do it: no adapter, no memory, a device or a rank that is gone. */
export class MachineError extends Error {
  /** Of a command that ends with it. */
  readonly exitCode = 1;
  override name = 'MachineError';
}

/** What a ShapeError says of one operand: its name in the op's signature, its shape and its dtype. */
export interface OperandFacts {
  /** In the op's signature. */
  readonly name: string;
  /** Extents of its axes. */
  readonly shape: readonly number[];
  /** `f32`, `f16`, `i32`, `u32` or `bool`. */
  readonly dtype: string;
}

/**
 * Operands that an op cannot work on: a fault of the program that called it, not of what the user gave, so it is no
 * InputError and never blamed on a file or a row. `op` and `operands` are also there as fields. Message:
 * `matmul: inner dimensions differ: a [8,64] f32 · b [32,16] f16`.
 */
export class ShapeError extends Error {
  /** Of a command that ends with it. */
  readonly exitCode = 1;
  override name = 'ShapeError';
  /** Those at fault, in the order of the message. */
  readonly operands: readonly OperandFacts[];

  /** `operands`: what is at fault, by name; anything with a shape and a dtype (a Tensor is). */
  constructor(
    /** The operation that was called, e.g. `matmul`. */
    readonly op: string,
    /** What is wrong, without the operands. */
    readonly problem: string,
    operands: Readonly<Record<string, Omit<OperandFacts, 'name'> | undefined>> = {},
  ) {
    const facts: OperandFacts[] = [];
    // Whatever was given in a tensor's place has no shape to show.
    for (const [name, operand] of Object.entries(operands))
      if (Array.isArray(operand?.shape))
        facts.push({ name, shape: [...operand.shape], dtype: operand.dtype });
    const list = facts.map(({ name, shape, dtype }) => `${name} [${shape.join(',')}] ${dtype}`).join(' · ');
    super(`${op}: ${problem}${list ? `: ${list}` : ''}`);
    this.operands = facts;
  }
}
