/**
 * What a JSON value must be, as a value: checks of numbers, texts, lists and objects, put together as the types are. The
 * compiler holds a check against its type, so a field that a type gains and its check does not is no silent gap.
 */
import { isJsonObject } from '../files/json.js';
import { show } from '../show.js';

/** Gives the value back as what it is. `at`: its path, for the message. @throws Mismatch. */
export type Check<T> = (value: unknown, at: string) => T;

/** A value that is not what it must be. */
export class Mismatch extends Error {
  constructor(at: string, expected: string, found: unknown) {
    super(`expected ${show(at)} to be ${expected}, found ${found === undefined ? 'none' : show(found)}`);
  }
}

function check<T>(expected: string, holds: (value: unknown) => boolean): Check<T> {
  return (value, at) => {
    if (!holds(value)) throw new Mismatch(at, expected, value);
    return value as T;
  };
}

export const text = check<string>('a text', (value) => typeof value === 'string');
export const boolean = check<boolean>('true or false', (value) => typeof value === 'boolean');
export const number = check<number>(
  'a number',
  (value) => typeof value === 'number' && Number.isFinite(value),
);
export const count = check<number>(
  'a whole number from 0',
  (value) => Number.isSafeInteger(value) && (value as number) >= 0,
);
/** Of a size or a time. */
export const amount = check<number>(
  'a number from 0',
  (value) => typeof value === 'number' && Number.isFinite(value) && value >= 0,
);
export const date = check<string>(
  'a time such as 2026-01-31T12:00:00.000Z',
  (value) => typeof value === 'string' && /^\d{4}-/.test(value) && !Number.isNaN(Date.parse(value)),
);

export function oneOf<const T extends string | number>(...values: readonly T[]): Check<T> {
  const expected = values.length === 1 ? show(values[0]) : `one of ${values.map(show).join(', ')}`;
  return check(expected, (value) => (values as readonly unknown[]).includes(value));
}

export function orNull<T>(inner: Check<T>): Check<T | null> {
  return (value, at) => (value === null ? null : inner(value, at));
}

/** Of a field that need not be there. */
export function optional<T>(inner: Check<T>): Check<T | undefined> {
  return (value, at) => (value === undefined ? undefined : inner(value, at));
}

/** The first of these that holds; the message is that of `expected`. */
export function either<A, B>(expected: string, a: Check<A>, b: Check<B>): Check<A | B> {
  return (value, at) => {
    for (const inner of [a, b])
      try {
        return inner(value, at);
      } catch (error) {
        if (!(error instanceof Mismatch)) throw error;
      }
    throw new Mismatch(at, expected, value);
  };
}

export function list<T>(inner: Check<T>): Check<readonly T[]> {
  return (value, at) => {
    if (!Array.isArray(value)) throw new Mismatch(at, 'a list', value);
    for (const [i, item] of value.entries()) inner(item, `${at}[${i}]`);
    return value;
  };
}

/** An object whose names are data. */
export function named<T>(inner: Check<T>): Check<Readonly<Record<string, T>>> {
  return (value, at) => {
    if (!isJsonObject(value)) throw new Mismatch(at, 'an object', value);
    for (const [name, item] of Object.entries(value)) inner(item, `${at}.${name}`);
    return value as Record<string, T>;
  };
}

/** An object with these fields; others that it has are left alone. */
export function object<T>(fields: { readonly [Name in keyof T]-?: Check<T[Name]> }): Check<T> {
  return (value, at) => {
    if (!isJsonObject(value)) throw new Mismatch(at === '' ? 'the record' : at, 'an object', value);
    for (const name of Object.keys(fields) as (keyof T & string)[])
      fields[name](value[name], at === '' ? name : `${at}.${name}`);
    return value as T;
  };
}
