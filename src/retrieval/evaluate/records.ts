/** Ids and texts of records in JSON: what every reader of an evaluation's files asks of an object. */
import { meantAs } from '../../data/field-names.js';
import { InputError } from '../../errors.js';
import type { JsonObject } from '../../files/json.js';
import { show } from '../../show.js';

const given = (record: JsonObject, name: string) => (Object.hasOwn(record, name) ? record[name] : undefined);

/** The first of these fields that is there: a text, or a whole number as its digits. `where` begins the message. @throws InputError. */
export function idOf(record: JsonObject, names: readonly string[], where: string): string {
  const name = names.find((each) => given(record, each) !== undefined);
  const value = name === undefined ? undefined : record[name];
  if (typeof value === 'number' && Number.isSafeInteger(value)) return String(value);
  if (typeof value === 'string' && value !== '' && value.isWellFormed()) return value;
  throw new InputError(
    `${where}: expected ${names.map((each) => `"${each}"`).join(' or ')} to be an id (a text or a whole number), found ${show(value)}`,
  );
}

/** Behind what was found in place of a field: one of another name that may be meant. */
function otherName(record: JsonObject, name: string): string {
  const meant = meantAs(record, name);
  return meant === undefined ? '' : ` (if ${show(meant)} is meant, rename it)`;
}

/** @throws InputError unless it is text; `fallback` where it is absent or null. */
export function textOf(record: JsonObject, name: string, where: string, fallback?: string): string {
  const value = given(record, name) ?? fallback;
  if (typeof value !== 'string')
    throw new InputError(
      `${where}: expected "${name}" to be a text, found ${show(value)}${otherName(record, name)}`,
    );
  if (!value.isWellFormed())
    throw new InputError(`${where}: expected "${name}" to be text, found half of a character in it`);
  return value;
}

/** A word to group by: a text, a number or a boolean as it is written; undefined where it is absent or null. @throws InputError. */
export function labelOf(record: JsonObject, name: string, where: string): string | undefined {
  const value = given(record, name) ?? undefined;
  if (value === undefined || typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  throw new InputError(`${where}: expected "${name}" to be a text or a number, found ${show(value)}`);
}
