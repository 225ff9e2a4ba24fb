/**
 * `sentencepiece.bpe.model` to the XLM-R form of tokenizer.json: the protobuf fields that matter are read directly
 * (sentencepiece_model.proto: ModelProto 1 pieces, 2 trainer_spec, 3 normalizer_spec), and ids follow fairseq:
 * `<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3, the pieces after SentencePiece's own three, `<mask>` last.
 */

export interface SentencePieceModel {
  /** In the file's order, with SentencePiece's control symbols. */
  pieces: { piece: string; score: number; type: number }[];
  precompiledCharsmap: Uint8Array;
}

const UNIGRAM = 1;
/** Four times what the largest models have. */
const MOST_PIECES = 1 << 20;

/** Kinds of pieces. */
const NORMAL = 1;
const CONTROL = 3;
const USER_DEFINED = 4;

/** @throws RangeError when the bytes are no SentencePiece unigram model. */
export function readSentencePiece(bytes: Uint8Array): SentencePieceModel {
  const model: SentencePieceModel = { pieces: [], precompiledCharsmap: new Uint8Array(0) };
  for (const { field, value } of protobufFields(bytes)) {
    if (field === 1) {
      const entry = { piece: '', score: 0, type: NORMAL };
      for (const inner of protobufFields(message(value))) {
        if (inner.field === 1) entry.piece = text(message(inner.value));
        if (inner.field === 2) entry.score = float(message(inner.value));
        if (inner.field === 3 && typeof inner.value === 'number') entry.type = inner.value;
      }
      if (model.pieces.length === MOST_PIECES) throw new RangeError(`more than ${MOST_PIECES} pieces`);
      model.pieces.push(entry);
    } else if (field === 2) {
      for (const inner of protobufFields(message(value)))
        if (inner.field === 3 && inner.value !== UNIGRAM) throw new RangeError('not a unigram model');
    } else if (field === 3) {
      for (const inner of protobufFields(message(value)))
        if (inner.field === 2) model.precompiledCharsmap = message(inner.value);
    }
  }
  if (
    model.pieces
      .slice(0, 3)
      .map(({ piece }) => piece)
      .join(' ') !== '<unk> <s> </s>'
  )
    throw new RangeError('expected the pieces to begin with <unk>, <s>, </s>');
  return model;
}

/** What transformers' conversion writes into tokenizer.json; the special tokens beside `<s>` and `</s>` are its class's. */
export function xlmRobertaTokenizerJson(model: SentencePieceModel) {
  const vocab: [string, number][] = ['<s>', '<pad>', '</s>', '<unk>'].map((token) => [token, 0]);
  for (const { piece, score } of model.pieces.slice(3)) vocab.push([piece, score]);
  vocab.push(['<mask>', 0]);
  const ids = new Map(vocab.map(([piece], id) => [piece, id]));
  const special = (id: string) => ({ SpecialToken: { id, type_id: 0 } });
  const sequence = (id: string) => ({ Sequence: { id, type_id: 0 } });
  const metaspace = { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true };
  const charsmap = {
    type: 'Precompiled',
    precompiled_charsmap: Buffer.from(model.precompiledCharsmap).toString('base64'),
  };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: model.pieces
      .filter(({ type }) => type === CONTROL || type === USER_DEFINED)
      .map(({ piece, type }) => ({
        id: ids.get(piece) ?? vocab.length,
        content: piece,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: type === CONTROL,
      })),
    normalizer: {
      type: 'Sequence',
      normalizers: [
        ...(model.precompiledCharsmap.length === 0 ? [] : [charsmap]),
        { type: 'Strip', strip_left: false, strip_right: true },
        { type: 'Replace', pattern: { Regex: ' {2,}' }, content: '▁' },
      ],
    },
    pre_tokenizer: metaspace,
    post_processor: {
      type: 'TemplateProcessing',
      single: [special('<s>'), sequence('A'), special('</s>')],
      pair: [special('<s>'), sequence('A'), special('</s>'), special('</s>'), sequence('B'), special('</s>')],
      special_tokens: {
        '<s>': { id: '<s>', ids: [0], tokens: ['<s>'] },
        '</s>': { id: '</s>', ids: [2], tokens: ['</s>'] },
      },
    },
    decoder: metaspace,
    model: { type: 'Unigram', unk_id: 3, vocab, byte_fallback: false },
  };
}

type ProtobufValue = number | Uint8Array;

/** The fields of one message: a varint as a number, every other wire type as its bytes. */
function* protobufFields(bytes: Uint8Array): Generator<{ field: number; value: ProtobufValue }> {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++];
      if (byte === undefined || scale > 2 ** 63) throw new RangeError('truncated');
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  };
  const take = (length: number) => {
    if (at + length > bytes.length) throw new RangeError('truncated');
    at += length;
    return bytes.subarray(at - length, at);
  };
  while (at < bytes.length) {
    const key = varint();
    const wireType = key % 8;
    const field = Math.floor(key / 8);
    if (wireType === 0) yield { field, value: varint() };
    else if (wireType === 1) yield { field, value: take(8) };
    else if (wireType === 2) yield { field, value: take(varint()) };
    else if (wireType === 5) yield { field, value: take(4) };
    else throw new RangeError(`no protobuf message: wire type ${wireType}`);
  }
}

function message(value: ProtobufValue): Uint8Array {
  if (typeof value === 'number') throw new RangeError('no SentencePiece model: unexpected number');
  return value;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function text(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw new RangeError('no SentencePiece model: a piece that is no UTF-8');
  }
}

function float(bytes: Uint8Array): number {
  if (bytes.length !== 4) throw new RangeError('no SentencePiece model: broken score');
  const score = new DataView(bytes.buffer, bytes.byteOffset, 4).getFloat32(0, true);
  if (!Number.isFinite(score)) throw new RangeError('no SentencePiece model: a score that is no number');
  return score;
}
