/**
 * What is wrong with a machine, from the facts alone: one rule a problem, with what a person can do about it on each
 * system. The rules are one table, in the order in which problems are told: what everything else needs stands first.
 */
import type { Facts } from './facts.js';
import { adapterRules } from './rules/adapters.js';
import { machineRules } from './rules/machine.js';
import { programRules } from './rules/programs.js';
import { type Problem, seenIn } from './rules/rule.js';

const rules = { ...programRules, ...adapterRules, ...machineRules };

export type ProblemId = keyof typeof rules;
export const problemIds = Object.keys(rules) as readonly ProblemId[];

/** In the order of the table. */
export function problemsOf(facts: Facts): Problem[] {
  const seen = seenIn(facts);
  return problemIds.flatMap((id) => {
    const found = rules[id](seen);
    return found ? [{ id, ...found }] : [];
  });
}

/** Whether a run can begin here. */
export const canTrain = (problems: readonly Problem[]): boolean =>
  problems.every(({ level }) => level !== 'stops');
