/** SentencePiece models whose protobuf frame is right around fields that are not. */
import { damageBytes } from './bytes.js';
import { goldenBytes } from './corpus.js';
import type { FuzzRandom } from './random.js';

interface Field {
  number: number;
  /** 0 varint, 1 fixed64, 2 bytes, 5 fixed32. */
  wire: number;
  content: Uint8Array;
}

const varint = (value: number): Uint8Array => {
  const bytes: number[] = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) + 128);
  return Uint8Array.from([...bytes, value]);
};

/** The fields of one message; what is no message gives what could be read of it. */
function fieldsOf(bytes: Uint8Array): Field[] {
  const fields: Field[] = [];
  let at = 0;
  const readVarint = (): number => {
    let value = 0;
    for (let scale = 1; at < bytes.length; scale *= 128) {
      const byte = bytes[at++]!;
      value += (byte & 127) * scale;
      if (byte < 128) break;
    }
    return value;
  };
  while (at < bytes.length) {
    const key = readVarint();
    const wire = key % 8;
    const start = at;
    const length = wire === 2 ? readVarint() : wire === 1 ? 8 : wire === 5 ? 4 : 0;
    const from = wire === 0 ? start : at;
    if (wire === 0) readVarint();
    else at += length;
    fields.push({ number: Math.floor(key / 8), wire, content: bytes.slice(from, at) });
  }
  return fields;
}

function bytesOf(fields: readonly Field[]): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const { number, wire, content } of fields) {
    parts.push(varint(number * 8 + wire));
    if (wire === 2) parts.push(varint(content.length));
    parts.push(content);
  }
  return Uint8Array.from(Buffer.concat(parts));
}

let small: Field[] | undefined;

/** The golden model with a tenth of its pieces. */
function smallModel(): Field[] {
  small ??= fieldsOf(goldenBytes('model', 'sentencepiece.bpe.model')).filter(
    ({ number }, i) => number !== 1 || i < 400,
  );
  return [...small];
}

function damageField(field: Field, random: FuzzRandom): Field {
  switch (random.below(5)) {
    case 0:
      return { ...field, content: damageBytes(field.content, random) };
    case 1:
      return { ...field, number: random.pick([0, 1, 2, 3, 4, 5, 10, 10000]) };
    case 2:
      return { number: field.number, wire: 0, content: varint(random.pick([0, 1, 2, 3, 4, 127, 2 ** 40])) };
    case 3:
      return { number: field.number, wire: 5, content: random.bytes(4) };
    default: {
      const inner = fieldsOf(field.content);
      if (inner.length === 0) return { ...field, content: random.bytes(random.size(8)) };
      const at = random.below(inner.length);
      inner[at] = damageField(inner[at]!, random);
      return { ...field, wire: 2, content: bytesOf(inner) };
    }
  }
}

export function sentencePieceBytes(random: FuzzRandom): Uint8Array {
  const fields = smallModel();
  if (random.chance(0.3)) return damageBytes(bytesOf(fields), random);
  for (let left = random.size(8); left > 0 && fields.length > 0; left--) {
    // Settings come after the pieces and are few: they are chosen as often.
    const at = random.chance(0.5)
      ? random.below(fields.length)
      : Math.max(0, fields.length - 1 - random.below(3));
    const field = fields[at]!;
    switch (random.below(6)) {
      case 0:
        fields.splice(at, 1);
        break;
      case 1:
        fields.splice(random.below(fields.length), 0, field);
        break;
      case 2:
        fields.splice(random.below(4), 1);
        break;
      default:
        fields[at] = damageField(field, random);
    }
  }
  return bytesOf(fields);
}
