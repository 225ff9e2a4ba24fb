/**
 * `sentencepiece.bpe.model` to the XLM-R form of tokenizer.json: the protobuf fields that matter are read directly
 * (sentencepiece_model.proto: ModelProto 1 pieces, 2 trainer_spec, 3 normalizer_spec), and ids follow fairseq:
 * `<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3, the pieces after SentencePiece's own three, `<mask>` last.
 */

export interface SentencePieceModel {
  /** In the file's order, with SentencePiece's control symbols. */
  pieces: { piece: string; score: number }[];
  precompiledCharsmap: Uint8Array;
}

const UNIGRAM = 1;

/** @throws RangeError when the bytes are no SentencePiece unigram model. */
export function readSentencePiece(bytes: Uint8Array): SentencePieceModel {
  const model: SentencePieceModel = { pieces: [], precompiledCharsmap: new Uint8Array(0) };
  for (const { field, value } of protobufFields(bytes)) {
    if (field === 1) {
      const entry = { piece: '', score: 0 };
      for (const inner of protobufFields(message(value))) {
        if (inner.field === 1) entry.piece = new TextDecoder().decode(message(inner.value));
        if (inner.field === 2) entry.score = float(message(inner.value));
      }
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

/** The object that XLM-R's tokenizer.json holds. */
export function xlmRobertaTokenizerJson(model: SentencePieceModel) {
  const vocab: [string, number][] = ['<s>', '<pad>', '</s>', '<unk>'].map((token) => [token, 0]);
  for (const { piece, score } of model.pieces.slice(3)) vocab.push([piece, score]);
  vocab.push(['<mask>', 0]);
  const added = (id: number) => ({
    id,
    content: vocab[id]![0],
    single_word: false,
    lstrip: id === vocab.length - 1,
    rstrip: false,
    normalized: false,
    special: true,
  });
  const special = (id: string) => ({ SpecialToken: { id, type_id: 0 } });
  const sequence = (id: string) => ({ Sequence: { id, type_id: 0 } });
  const metaspace = { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [0, 1, 2, 3, vocab.length - 1].map(added),
    normalizer:
      model.precompiledCharsmap.length === 0
        ? null
        : {
            type: 'Precompiled',
            precompiled_charsmap: Buffer.from(model.precompiledCharsmap).toString('base64'),
          },
    pre_tokenizer: { type: 'Sequence', pretokenizers: [{ type: 'WhitespaceSplit' }, metaspace] },
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

function float(bytes: Uint8Array): number {
  if (bytes.length !== 4) throw new RangeError('no SentencePiece model: broken score');
  return new DataView(bytes.buffer, bytes.byteOffset, 4).getFloat32(0, true);
}
