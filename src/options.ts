/**
 * Options of a call: an object, and nothing in it that the function does not know, since a name that is spelled wrong would
 * otherwise be no option at all and go unnoticed. Stands beside errors.ts, below all rooms.
 */
import { ShapeError } from './errors.js';
import { nearestName } from './nearest-name.js';
import { show } from './show.js';

/** Names by which Python's libraries know options too: `ignore_index` is near to `ignoreIndex`. */
const words = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** What `typeof` says of an option; of what is no primitive value the function itself knows more. */
type Kind<T> = [T] extends [boolean]
  ? 'boolean'
  : [T] extends [number]
    ? 'number'
    : [T] extends [string]
      ? 'string'
      : 'any';

/** Of an option that may be null: so it says, or the function looks at it itself. */
type NullableKind<T> = Kind<NonNullable<T>> extends 'any' ? 'any' : `${Kind<NonNullable<T>>} or null`;

const KINDS: Readonly<Record<string, string>> = {
  boolean: 'true or false',
  number: 'a number',
  string: 'a text',
};

/** The names of a function's options, and their kinds. All of them, and no others, or it does not compile. */
export class OptionNames<O extends object> {
  private readonly known: Readonly<Record<string, string | true>>;

  /** `true`: of a kind that the function looks at itself. */
  constructor(
    names: {
      readonly [Name in keyof O]-?:
        | (null extends O[Name] ? NullableKind<O[Name]> : Kind<NonNullable<O[Name]>>)
        | true;
    },
  ) {
    this.known = Object.assign(Object.create(null), names);
  }

  /**
   * The options that a call was given, which a function reads from nowhere else.
   * @throws ShapeError for what is no object, for a name that is none of these, and for a value of another kind: `'false'`
   * is no boolean, and null none either, unless the option may be that.
   */
  read(op: string, given: O, what = 'options'): O {
    if (typeof given !== 'object' || given === null || Array.isArray(given) || ArrayBuffer.isView(given))
      throw new ShapeError(op, `${what} must be an object, found ${show(given)}`);
    let some = false;
    for (const name in given) {
      some = true;
      const kind = this.known[name];
      if (kind === undefined) this.refuse(op, given, name, what);
      const value: unknown = given[name];
      if (kind === true || kind === 'any' || value === undefined) continue;
      const [type, nullable] = kind.split(' or ');
      if (typeof value !== type && !(nullable && value === null))
        throw new ShapeError(
          op,
          `${name} must be ${KINDS[type!]}${nullable ? ' or null' : ''}, found ${show(value)}`,
        );
    }
    // A promise, a date, a set: nothing in them can be listed.
    if (!some && Object.prototype.toString.call(given) !== '[object Object]')
      throw new ShapeError(op, `${what} must be an object of options, found ${show(given)}`);
    return given;
  }

  private refuse(op: string, given: object, name: string, what: string): never {
    if (Object.getPrototypeOf(given) !== Object.prototype && Object.getPrototypeOf(given) !== null)
      throw new ShapeError(op, `${what} must be an object of options, found ${show(given)}`);
    const names = Object.keys(this.known);
    const nearest = nearestName(words(name), names.map(words));
    const near = names.find((each) => words(each) === nearest);
    throw new ShapeError(
      op,
      `no option ${show(name)}${near === undefined ? '' : `, the nearest is ${near}`}; there ${names.length === 1 ? 'is' : 'are'} ${names.join(', ')}`,
    );
  }
}
