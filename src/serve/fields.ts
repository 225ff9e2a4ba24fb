/** The fields of a body, each of one type; what is wrong is told by the name of the field. */
import type { JsonObject } from '../files/json.js';
import { nearestName } from '../nearest-name.js';
import { printable, show } from '../show.js';
import { Refusal } from './refusal.js';

/** Texts, or the ids of texts as a tokenizer gives them, special ones included. */
export type Input =
  | { readonly texts: readonly string[]; readonly ids?: undefined }
  | { readonly ids: readonly Uint32Array[]; readonly texts?: undefined };

/** Reads fields of a body and knows which there may be. `status`: of refusals for a wrong type. */
export class Fields {
  constructor(
    private readonly body: JsonObject,
    private readonly status: number,
    known: readonly string[],
  ) {
    for (const name of Object.keys(body))
      if (!known.includes(name) && body[name] !== null) {
        const nearest = nearestName(name, known);
        throw this.refused(
          printable(name.slice(0, 80)),
          `there is no such field${nearest === null ? `; there are ${known.join(', ')}` : `; the nearest is ${nearest}`}`,
        );
      }
  }

  refused(name: string, problem: string, code?: string): Refusal {
    return new Refusal(this.status, `${name}: ${problem}`, { param: name, code });
  }

  private wrong(name: string, expects: string, value: unknown): Refusal {
    const found = value === undefined ? 'nothing' : value === null ? 'null' : show(value);
    return this.refused(name, `expected ${expects}, found ${found}`);
  }

  /** What is null is not given. */
  private value(name: string): unknown {
    return this.body[name] ?? undefined;
  }

  boolean(name: string): boolean | undefined {
    const value = this.value(name);
    if (value === undefined || typeof value === 'boolean') return value;
    throw this.wrong(name, 'true or false', value);
  }

  integer(name: string, least: number): number | undefined {
    const value = this.value(name);
    if (value === undefined) return undefined;
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= least) return value;
    throw this.wrong(name, `a whole number of at least ${least}`, value);
  }

  choice<const Choices extends readonly string[]>(
    name: string,
    choices: Choices,
  ): Choices[number] | undefined {
    const value = this.value(name);
    if (value === undefined) return undefined;
    if (typeof value === 'string' && choices.includes(value)) return value;
    throw this.wrong(name, `one of ${choices.join(', ')}`, value);
  }

  text(name: string): string | undefined {
    const value = this.value(name);
    return value === undefined ? undefined : this.asText(name, value);
  }

  requiredText(name: string): string {
    return this.asText(name, this.body[name]);
  }

  texts(name: string): readonly string[] {
    const value = this.body[name];
    if (!Array.isArray(value) || value.length === 0)
      throw this.wrong(name, 'a list of texts that is not empty', value);
    return value.map((each, i) => this.asText(`${name}[${i}]`, each));
  }

  /** Three numbers of at least 0, not all of them 0. */
  weights(name: string): readonly [number, number, number] | undefined {
    const value = this.value(name);
    if (value === undefined) return undefined;
    if (
      Array.isArray(value) &&
      value.length === 3 &&
      value.every((each) => typeof each === 'number' && each >= 0 && Number.isFinite(each)) &&
      value.some((each) => each > 0)
    )
      return value as unknown as readonly [number, number, number];
    throw this.wrong(name, 'three numbers of at least 0, not all of them 0: dense, sparse, ColBERT', value);
  }

  /** A text or a list of texts, a list of ids or a list of lists of ids below `vocabSize`. */
  input(name: string, vocabSize: number): Input {
    const value = this.body[name];
    if (typeof value === 'string') return { texts: [this.asText(name, value)] };
    if (!Array.isArray(value) || value.length === 0)
      throw this.wrong(name, 'a text, a list of texts or lists of token ids, not empty', value);
    if (typeof value[0] === 'string') return { texts: this.texts(name) };
    if (typeof value[0] === 'number') return { ids: [this.ids(name, value, vocabSize)] };
    return { ids: value.map((each, i) => this.ids(`${name}[${i}]`, each, vocabSize)) };
  }

  private ids(name: string, value: unknown, vocabSize: number): Uint32Array {
    if (!Array.isArray(value) || value.length === 0)
      throw this.wrong(name, 'a text or a list of token ids that is not empty', value);
    const ids = new Uint32Array(value.length);
    for (const [i, id] of value.entries()) {
      if (!(Number.isInteger(id) && id >= 0 && id < vocabSize))
        throw this.wrong(`${name}[${i}]`, `a token id from 0 to ${vocabSize - 1}`, id);
      ids[i] = id;
    }
    return ids;
  }

  private asText(name: string, value: unknown): string {
    if (typeof value !== 'string') throw this.wrong(name, 'a text', value);
    if (!value.isWellFormed()) throw this.refused(name, 'expected a text, found half of a character in it');
    return value;
  }
}
