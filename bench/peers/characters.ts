/**
 * The character model that `bench peers` trains on every library: a small causal transformer (pre-norm blocks, exact GELU,
 * learned positions), its first weights and its text by formulas that any language can evaluate, and what its loss is.
 */
import { operand, weightScale } from './operands.js';

export const CHARACTERS = {
  layers: 4,
  width: 128,
  heads: 4,
  hidden: 512,
  context: 128,
  batch: 32,
  vocabulary: 65,
  eps: 1e-5,
} as const;

export interface CharacterParameter {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

const filled = (count: number, value: number) => new Float32Array(count).fill(value);

/** All parameters in the order of forward; weights of layers are [to, from]. */
export function characterParameters(): CharacterParameter[] {
  const { layers, width, hidden, context, vocabulary } = CHARACTERS;
  const parameters: CharacterParameter[] = [];
  const add = (name: string, shape: number[], scale: number | 'ones' | 'zeros') => {
    const count = shape.reduce((a, b) => a * b, 1);
    const values =
      typeof scale === 'number'
        ? operand(100 + parameters.length, count, scale)
        : filled(count, scale === 'ones' ? 1 : 0);
    parameters.push({ name, shape, values });
  };
  const layer = (name: string, to: number, from: number) => {
    add(`${name}.weight`, [to, from], weightScale(from));
    add(`${name}.bias`, [to], 'zeros');
  };
  const norm = (name: string) => {
    add(`${name}.weight`, [width], 'ones');
    add(`${name}.bias`, [width], 'zeros');
  };
  add('tokens', [vocabulary, width], 0.1);
  add('positions', [context, width], 0.1);
  for (let l = 0; l < layers; l++) {
    norm(`${l}.norm1`);
    layer(`${l}.qkv`, 3 * width, width);
    layer(`${l}.projection`, width, width);
    norm(`${l}.norm2`);
    layer(`${l}.widen`, hidden, width);
    layer(`${l}.narrow`, width, hidden);
  }
  norm('norm');
  add('head', [vocabulary, width], weightScale(width));
  return parameters;
}

const LENGTH = 65_536;

/** A text in which a character allows three that may follow. */
function characterText(): Int32Array {
  const text = new Int32Array(LENGTH);
  let [state, character] = [12_345, 0];
  for (let i = 0; i < LENGTH; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    character = (7 * character + 3 + ((state >>> 24) % 3)) % CHARACTERS.vocabulary;
    text[i] = character;
  }
  return text;
}

let text: Int32Array | undefined;

/** [batch · context] characters of a step, and those that follow them. */
export function characterBatch(step: number): { inputs: Int32Array; targets: Int32Array } {
  text ??= characterText();
  const { batch, context } = CHARACTERS;
  const inputs = new Int32Array(batch * context);
  const targets = new Int32Array(batch * context);
  for (let b = 0; b < batch; b++) {
    const start = ((step * batch + b) * 977) % (LENGTH - context - 1);
    inputs.set(text.subarray(start, start + context), b * context);
    targets.set(text.subarray(start + 1, start + context + 1), b * context);
  }
  return { inputs, targets };
}

/** Products of a step: each weight three times (forward, and towards both operands), and attention's as if nothing were masked. */
export function characterFlops(): number {
  const { layers, width, hidden, context, batch, vocabulary } = CHARACTERS;
  const rows = batch * context;
  const weights = layers * (4 * width * width + 2 * width * hidden) + vocabulary * width;
  return 3 * 2 * rows * weights + layers * 3 * 4 * rows * context * width;
}

/** The loss before each of the first steps, in float64 by PyTorch (test/interop/characters.py). */
export const CHARACTER_LOSSES: readonly number[] = [4.35758573, 4.277773443, 4.132346333, 4.046265565];
