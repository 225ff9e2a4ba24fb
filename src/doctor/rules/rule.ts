/** What a rule is that finds a problem in facts, and what several rules ask of them. The rules stand beside this file. */
import { type AdapterFacts, type Facts, foundOf, type GraphicsFacts, type SystemFacts } from '../facts.js';
import type { Commands } from '../fixes.js';

/** `stops`: nothing trains before it is mended; `limits`: it trains, and slower or less than the machine could. */
export type Level = 'stops' | 'limits';

export interface Problem {
  readonly id: string;
  readonly level: Level;
  /** What is wrong, in a sentence. */
  readonly what: string;
  /** What to do, in a sentence. */
  readonly fix: string;
  readonly commands: Commands;
}

/** What a rule says where its problem is there. */
export type Found = Omit<Problem, 'id'>;

/** Null: these facts have no such problem. */
export type Rule = (seen: Seen) => Found | null;

/** The facts with what several rules ask for. */
export interface Seen {
  readonly facts: Facts;
  readonly system: SystemFacts | undefined;
  readonly graphics: GraphicsFacts | undefined;
  /** Undefined where listing them failed. */
  readonly adapters: readonly AdapterFacts[] | undefined;
  /** Of those, GPUs. */
  readonly gpus: number;
  /** Dawn itself works, so that adapters mean something. */
  readonly dawn: boolean;
}

export function seenIn(facts: Facts): Seen {
  const adapters = foundOf(facts.adapters)?.adapters;
  const dawn = foundOf(facts.dawn);
  return {
    facts,
    system: foundOf(facts.system),
    graphics: foundOf(facts.graphics),
    adapters,
    gpus: adapters?.filter(({ software }) => !software).length ?? 0,
    dawn: dawn !== undefined && dawn.binary !== null && dawn.problem === null,
  };
}

/** Where there is an adapter that computes on the processor, what keeps a GPU away stops nothing. */
export const levelOf = ({ adapters }: Seen): Level => (adapters && adapters.length > 0 ? 'limits' : 'stops');

export const stops = (what: string, fix: string, commands: Commands = {}): Found => ({
  level: 'stops',
  what,
  fix,
  commands,
});
export const limits = (what: string, fix: string, commands: Commands = {}): Found => ({
  level: 'limits',
  what,
  fix,
  commands,
});
