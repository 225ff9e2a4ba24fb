/**
 * Which variant of a kernel family a device uses: what somebody forced, what the tuner found, and otherwise whatever the
 * family itself thinks best. It belongs to a device and is data only, so that a plan, a checkpoint or another rank can
 * take a copy and so choose the same kernels, hence the same memory and the same bits.
 */

/** Families by name with the variant each is to use where the adapter supports it; `fallback`: the first of every family. */
export type ForcedKernels = 'fallback' | Readonly<Record<string, string>>;

/** Kernel choices as they are written to a file. */
export interface ChoicesRecord {
  /** What was asked for by name; such families are never tuned. */
  readonly forced?: ForcedKernels | undefined;
  /** Variant by `family form sizeClass`. */
  readonly winners: Readonly<Record<string, string>>;
}

/** What was asked and answered. `variant` is the family's own record. */
export interface Decision {
  /** Of the class of sizes that the tuner makes one choice for. */
  readonly key: string;
  /** The kernel family that was asked. */
  readonly family: string;
  /** Layouts, formats and epilogues, as the family has them. */
  readonly form: object;
  /** Extents, as the family has them. */
  readonly size: object;
  /** What runs. */
  readonly variant: {
    /** As `bench` and profiles have it. */
    readonly name: string;
  };
}

/** Which variant of each kernel family a device runs: forced, tuned, or by rule. */
export class KernelChoices {
  private readonly winners = new Map<string, string>();
  /** Decisions that were made on this device, by family, form and exact size; `choose` in src/kernels/variants.ts keeps them. */
  readonly decided = new Map<string, Decision>();

  /** `forced`: as `GpuOptions.kernels` has it. */
  constructor(
    /** Variants that were asked for by name, by their families. */
    readonly forced?: ForcedKernels,
  ) {}

  /** The choices of a record that `record` made. */
  static from({ forced, winners }: ChoicesRecord): KernelChoices {
    const choices = new KernelChoices(forced);
    for (const key of Object.keys(winners)) choices.remember(key, winners[key]!);
    return choices;
  }

  /** What the tuner found for a key. */
  winner(key: string): string | undefined {
    return this.winners.get(key);
  }

  /** Takes what the tuner found for a key; decisions are made anew. */
  remember(key: string, variant: string): void {
    this.winners.set(key, variant);
    this.decided.clear();
  }

  /** Takes the winners of a record instead of those that it has. */
  replaceWinners(winners: Readonly<Record<string, string>>): void {
    this.winners.clear();
    this.decided.clear();
    for (const [key, variant] of Object.entries(winners)) this.winners.set(key, variant);
  }

  /** The name that `family` is forced to, if any; `fallback` is for the caller to resolve. */
  forcedVariant(family: string): string | undefined {
    if (this.forced === undefined || this.forced === 'fallback') return undefined;
    return Object.hasOwn(this.forced, family) ? this.forced[family] : undefined;
  }

  /** For a file; `from` reads it. */
  record(): ChoicesRecord {
    return { forced: this.forced, winners: Object.fromEntries(this.winners) };
  }

  /** The same choices, which change apart from these. */
  copy(): KernelChoices {
    return KernelChoices.from(this.record());
  }
}
