/**
 * A part of a JSON file whose members are read by type: whoever asks gets what it asked for, or the reader of the
 * file gets one line that names file, place and what was expected there.
 */
import { InputError } from '../errors.js';
import { isJsonObject, type JsonObject } from '../files/json.js';
import { printable, show } from '../show.js';

export class Part {
  constructor(
    private readonly members: JsonObject,
    private readonly file: string,
    /** Names and numbers that lead to this part, `normalizer.normalizers.0`; empty for the whole file. */
    private readonly path: string = '',
  ) {}

  fail(key: string, expected: string, found: unknown = this.get(key)): never {
    throw new InputError(
      `${printable(this.file)}: ${this.place(key)}: expected ${expected}, found ${show(found)}`,
    );
  }

  has(key: string): boolean {
    return Object.hasOwn(this.members, key);
  }

  get(key: string): unknown {
    return this.has(key) ? this.members[key] : undefined;
  }

  keys(): string[] {
    return Object.keys(this.members);
  }

  /** Well-formed Unicode, which a JSON file's escapes need not be and no file of Rust's is. */
  string(key: string): string {
    const value = this.get(key);
    if (typeof value !== 'string' || /\p{Cs}/u.test(value)) this.fail(key, 'a text');
    return value as string;
  }

  boolean(key: string, otherwise?: boolean): boolean {
    const value = this.get(key);
    if (value === undefined && otherwise !== undefined) return otherwise;
    if (typeof value !== 'boolean') this.fail(key, 'true or false');
    return value as boolean;
  }

  /** A whole number from 0 that a signed 32-bit integer holds, as GPU tables are indexed. */
  id(key: string): number {
    const value = this.get(key);
    if (!isId(value)) this.fail(key, 'a whole number from 0 to 2147483647');
    return value as number;
  }

  number(key: string): number {
    const value = this.get(key);
    if (typeof value !== 'number' || !Number.isFinite(value)) this.fail(key, 'a number');
    return value as number;
  }

  oneOf<Name extends string>(key: string, names: readonly Name[]): Name {
    const value = this.get(key);
    if (!names.includes(value as Name)) this.fail(key, names.map((name) => `"${name}"`).join(' or '));
    return value as Name;
  }

  list(key: string): readonly unknown[] {
    const value = this.get(key);
    if (!Array.isArray(value)) this.fail(key, 'a list');
    return value as unknown[];
  }

  part(key: string): Part {
    const value = this.get(key);
    if (!isJsonObject(value)) this.fail(key, 'an object');
    return new Part(value as JsonObject, this.file, this.place(key));
  }

  /** Undefined when the member is null or missing. */
  optionalPart(key: string): Part | undefined {
    return (this.get(key) ?? null) === null ? undefined : this.part(key);
  }

  /** The members of a list of objects. */
  parts(key: string): Part[] {
    return this.list(key).map((value, i) => {
      if (!isJsonObject(value)) this.fail(`${key}.${i}`, 'an object', value);
      return new Part(value as JsonObject, this.file, this.place(`${key}.${i}`));
    });
  }

  /** This part with other members in place of some of its own. */
  with(members: JsonObject): Part {
    return new Part(Object.assign(Object.create(null), this.members, members), this.file, this.path);
  }

  private place(key: string): string {
    return printable(this.path === '' ? key : `${this.path}.${key}`);
  }
}

export function isId(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 2 ** 31;
}
