/** The flags of a run with their values, and who said so. */
import { isDeepStrictEqual } from 'node:util';
import type { CommandLine } from '../../flags.js';
import type { Setting, SettingValue } from '../../run-record/record.js';
import { type FinetuneArguments, finetuneFlags } from '../arguments.js';
import { type FlagName, flagValue } from '../checkpoints/fingerprint.js';

/** What decides beside flags. */
export interface OtherSources {
  /** What the DeepSpeed file says in place of flags, by their names. */
  readonly deepspeed: ReadonlyMap<string, SettingValue>;
  /** Flags whose values the model's folder caps. */
  readonly model: ReadonlySet<string>;
}

/** `commandLine`: undefined where no words were parsed: then what is not the default counts as a flag. Secrets are left out. */
export function settingsOf(
  args: FinetuneArguments,
  { deepspeed, model }: OtherSources,
  commandLine: CommandLine | undefined,
): Setting[] {
  return (Object.keys(finetuneFlags) as FlagName[]).flatMap((name): Setting[] => {
    const flag = finetuneFlags[name];
    if (flag.type.secret) return [];
    const fallback = jsonOf(flag.fallback);
    const own = jsonOf(flagValue(args, name));
    const said = deepspeed.get(name);
    const differs = !isDeepStrictEqual(own, fallback);
    const given = commandLine?.origin.get(name) ?? (differs ? 'flag' : 'default');
    const origin: Setting['origin'] = said !== undefined ? 'deepspeed' : model.has(name) ? 'model' : given;
    if (flag.inert !== undefined && origin === 'default') return [];
    const setting: Setting = { name, value: said ?? own, origin, group: flag.group };
    return [
      origin === 'default' || flag.fallback === undefined ? setting : { ...setting, default: fallback },
    ];
  });
}

function jsonOf(value: unknown): SettingValue {
  if (value === undefined || value === null) return null;
  if (value instanceof Set) return [...(value as Set<string>)].sort();
  return value as SettingValue;
}
