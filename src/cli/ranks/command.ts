/**
 * A command that several ranks run together: one process of one rank, threads, or processes of MPI. What the command does
 * is written once, for one rank; how ranks come to be stands in run.ts.
 */

import type { Interruption, StopRequest } from '../../console/interruption.js';
import type { Reporter } from '../../console/reporter.js';
import type { CommandLine, Origin } from '../../flags.js';
import type { Gpu, GpuOptions } from '../../gpu/gpu.js';
import type { Launcher } from '../../ranks/choose-ranks.js';
import type { Communicator } from '../../ranks/communicator.js';
import type { WantedAdapters } from '../../ranks/rank-adapter.js';
import type { ReporterArguments } from '../reporter.js';

export interface RankedArguments extends WantedAdapters, ReporterArguments {
  readonly launcher: Launcher;
  readonly ddpTimeout: number;
}

/** What one rank has around it. */
export interface Ranked<Args> {
  readonly args: Args;
  /** What was typed, and where the value of each flag comes from; undefined where the command does not tell. */
  readonly commandLine: CommandLine | undefined;
  readonly report: Reporter;
  readonly stop: StopRequest;
  /** Undefined: the only one. */
  readonly communicator: Communicator | undefined;
  /** Opens the rank's own adapter; undefined for the only one, which has all to choose from. All ranks call it. */
  readonly openGpu: ((options?: Omit<GpuOptions, 'adapter'>) => Promise<Gpu>) | undefined;
}

export interface RankEnd {
  /** Of a signal that stopped the ranks, or of a command that found something wrong. */
  readonly exitCode?: number;
  /** It was a signal, to whichever rank. */
  readonly stopped?: boolean;
  /** What goes to standard output at the end; that of rank 0 is written. */
  readonly output?: string;
}

/** What the words of a command come to. */
export interface ParsedCommand<Args> {
  readonly args: Args;
  readonly notices: readonly string[];
  readonly origin?: ReadonlyMap<string, Origin>;
}

/** The words with where the value of each flag comes from, for who records them. */
export const commandLineOf = (
  argv: readonly string[],
  { origin }: Pick<ParsedCommand<unknown>, 'origin'>,
): CommandLine | undefined => origin && { argv, origin };

export interface RankedCommand<Args extends RankedArguments = RankedArguments> {
  /** As the shell names it. */
  readonly name: string;
  readonly interruption: Interruption;
  /** `ranks`: of the run, where a launcher started them. @throws InputError. */
  parse(argv: readonly string[], ranks?: number): ParsedCommand<Args>;
  run(rank: Ranked<Args>): Promise<RankEnd>;
}

/** What the module of a ranked command exports, which threads import by its URL. */
export interface RankedModule {
  readonly rankedCommand: RankedCommand<never>;
}
