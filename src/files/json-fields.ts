/** The fields of a JSON object that a program wrote and reads again: each is of its kind or an error that names it. */
import { InputError } from '../errors.js';
import { printable, show } from '../show.js';
import { isJsonObject, type JsonObject } from './json.js';

/** Fields of an object that came from outside as JSON: each is asked for as what it must be, and an error names its path. */
export class Fields {
  /** `where`: the file, and `at` the path within it, for messages. */
  constructor(
    private readonly object: JsonObject,
    /** The file, for messages. */
    readonly where: string,
    private readonly at = '',
  ) {}

  /** Of all fields, in the object's order. */
  names(): string[] {
    return Object.keys(this.object);
  }

  /** Whatever it is; undefined when it is not there. */
  value(name: string): unknown {
    return Object.hasOwn(this.object, name) ? this.object[name] : undefined;
  }

  /** @throws InputError unless it is a number that is finite and at least `least`. */
  number(name: string, least = Number.NEGATIVE_INFINITY): number {
    const value = this.value(name);
    if (typeof value === 'number' && Number.isFinite(value) && value >= least) return value;
    throw this.fault(name, least === Number.NEGATIVE_INFINITY ? 'a number' : `a number from ${least}`);
  }

  /** @throws InputError unless it is a whole number of at least `least` that doubles count. */
  count(name: string, least = 0): number {
    const value = this.value(name);
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= least) return value;
    throw this.fault(name, `a whole number from ${least}`);
  }

  /** @throws InputError unless it is a text. */
  text(name: string): string {
    const value = this.value(name);
    if (typeof value === 'string') return value;
    throw this.fault(name, 'a text');
  }

  /** @throws InputError unless it is an object. */
  fields(name: string): Fields {
    const value = this.value(name);
    if (isJsonObject(value)) return new Fields(value, this.where, this.path(name));
    throw this.fault(name, 'an object');
  }

  /** @throws InputError unless it is a list of objects. */
  list(name: string): Fields[] {
    const value = this.value(name);
    if (Array.isArray(value) && value.every(isJsonObject))
      return value.map((item, i) => new Fields(item, this.where, `${this.path(name)}[${i}]`));
    throw this.fault(name, 'a list of objects');
  }

  /** The error of a field that is not what was expected: `FILE: expected "a.b" to be a number, found none`. */
  fault(name: string, expected: string): InputError {
    const value = this.value(name);
    return new InputError(
      `${printable(this.where)}: expected ${show(this.path(name))} to be ${expected}, found ${value === undefined ? 'none' : show(value)}`,
    );
  }

  private path(name: string): string {
    return this.at === '' ? name : `${this.at}.${name}`;
  }
}
