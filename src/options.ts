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
type Primitive<T> = [T] extends [boolean]
  ? 'boolean'
  : [T] extends [number]
    ? 'number'
    : [T] extends [string]
      ? 'string'
      : 'any';

type OrNull<Kind extends string> = Kind extends 'any' ? Kind : `${Kind} or null`;

/** Null is a value where the option's type has it. */
type Kind<T> = [Extract<T, null>] extends [never] ? Primitive<T> : OrNull<Primitive<Exclude<T, null>>>;

const KINDS: Readonly<Record<string, string>> = {
  boolean: 'true or false',
  number: 'a number',
  string: 'a text',
};

/** The names of a function's options, and their kinds. All of them, and no others, or it does not compile. */
export class OptionNames<O extends object> {
  private readonly known: Readonly<Record<string, string | true>>;

  /** `true`: of a kind that the function looks at itself. */
  constructor(names: { readonly [Name in keyof O]-?: Kind<Exclude<O[Name], undefined>> | true }) {
    this.known = Object.assign(Object.create(null), names);
  }

  /**
   * The options that a call was given, which a function reads from nowhere else.
   * @throws ShapeError for what is no object, for a name that is none of these, and for a value of another kind: `'false'`
   * is no boolean, and null none either where its type does not say so.
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
      if (kind === true || kind === 'any' || value === undefined || typeof value === kind) continue;
      const [primitive, nullable] = kind.split(' or ');
      if (nullable && (value === null || typeof value === primitive)) continue;
      throw new ShapeError(
        op,
        `${name} must be ${KINDS[primitive!]}${nullable ? ' or null' : ''}, found ${show(value)}`,
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
