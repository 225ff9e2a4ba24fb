/**
 * What a run is trained on, for its record: files, lengths of texts in tokens, what the limits cut, rows of the first batch
 * as the model sees them. All of it follows from the data and the flags, and is worked out before the first step, from
 * rows drawn at random where there are many.
 */
import type { TrainingData } from '../../data/batches.js';
import { placeName } from '../../data/rows.js';
import type {
  DataSummary,
  SamplePassage,
  SampleRow,
  SampleText,
  TextLengths,
} from '../../run-record/record.js';
import { CounterRandom } from '../../tensor/random.js';
import type { Tokenizer } from '../../tokenizer/tokenizer.js';
import type { RunInputs } from '../run/inputs.js';

/** Rows whose lengths are looked at, and characters of text that are read for it, about half a second's. */
const MOST_ROWS = 4000;
const MOST_CHARACTERS = 1_000_000;
const SAMPLE_ROWS = 4;
const SAMPLE_PASSAGES = 8;
/** Longer texts are shown so far. */
const SHOWN_CHARACTERS = 2000;

export function dataSummary({ data, evalData, plan, tokenizer }: RunInputs): DataSummary {
  const { args, worldSize } = plan;
  const { rows, used } = data.usage(worldSize);
  const [queries, passages] = [new Lengths(args.queryMaxLen), new Lengths(args.passageMaxLen)];
  let looked = 0;
  let characters = 0;
  for (const row of rowsAtRandom(data)) {
    if (looked === MOST_ROWS || characters > MOST_CHARACTERS) break;
    const texts = data.textsOf(row);
    queries.add(tokenizer.countTokens(texts.query));
    const drawn = texts.passages.slice(0, args.trainGroupSize);
    for (const text of drawn) passages.add(tokenizer.countTokens(text));
    for (const { length } of [texts.query, ...drawn]) characters += length;
    looked++;
  }
  return {
    files: filesOf(data),
    rows: used,
    dropped: rows - used,
    evaluation: evalData ? { files: filesOf(evalData), rows: evalData.rowCount } : null,
    looked_at: looked,
    queries: queries.summary(),
    passages: passages.summary(),
    samples: samplesOf(data, tokenizer, plan.args, worldSize),
  };
}

function filesOf(data: TrainingData): DataSummary['files'] {
  return data.datasets.flatMap((dataset) => dataset.files());
}

/** Each row once, in an order that is the same for the same number of rows. */
function* rowsAtRandom({ rowCount }: TrainingData): Generator<number, void, undefined> {
  const order = Uint32Array.from({ length: rowCount }, (_, row) => row);
  yield* new CounterRandom(0, [ORDER]).shuffle(order);
}

/** Keeps it apart from whatever else is drawn. */
const ORDER = 0x6c656e67;

function samplesOf(
  data: TrainingData,
  tokenizer: Tokenizer,
  limits: { readonly queryMaxLen: number; readonly passageMaxLen: number },
  worldSize: number,
): SampleRow[] {
  const batch = data.epoch(0, { worldSize }).next().value;
  if (!batch) return [];
  const { queries, passages, groupSize, teacherScores, rows } = batch;
  const seen = (text: string, limit: number): SampleText => {
    const ids = tokenizer.encode(text, limit);
    const shown = tokenizer.decode(ids);
    return {
      text: shown.length > SHOWN_CHARACTERS ? `${shown.slice(0, SHOWN_CHARACTERS).toWellFormed()} …` : shown,
      tokens: ids.length,
      length: tokenizer.countTokens(text),
    };
  };
  return queries.slice(0, SAMPLE_ROWS).map((query, row) => ({
    place: placeName(rows[row]!),
    query: seen(query, limits.queryMaxLen),
    passages: passages
      .slice(row * groupSize, row * groupSize + Math.min(groupSize, SAMPLE_PASSAGES))
      .map((passage, n): SamplePassage => {
        const score = teacherScores?.[row * groupSize + n];
        return {
          ...seen(passage, limits.passageMaxLen),
          positive: n === 0,
          ...(score === undefined ? {} : { teacher_score: Number(score.toPrecision(6)) }),
        };
      }),
  }));
}

/** Lengths that a histogram tells apart: each up to 8, then four between two powers of two. */
function* bounds(): Generator<number, never, undefined> {
  for (let n = 1; n < 8; n++) yield n;
  for (let power = 8; ; power *= 2) for (let n = 0; n < 4; n++) yield power + (n * power) / 4;
}

class Lengths {
  private texts = 0;
  private tokens = 0;
  private kept = 0;
  private cut = 0;
  private longest = 0;
  private readonly counts = new Map<number, number>();

  constructor(private readonly limit: number) {}

  add(length: number): void {
    this.texts++;
    this.tokens += length;
    this.kept += Math.min(length, this.limit);
    if (length > this.limit) this.cut++;
    this.longest = Math.max(this.longest, length);
    this.counts.set(length, (this.counts.get(length) ?? 0) + 1);
  }

  summary(): TextLengths {
    const { limit, texts, tokens, kept, cut, longest, counts } = this;
    const upTo: number[] = [];
    for (const bound of bounds()) {
      if (upTo.length > 0 && upTo.at(-1)! >= longest) break;
      upTo.push(bound);
    }
    const count = new Array<number>(upTo.length).fill(0);
    for (const [length, times] of counts) count[upTo.findIndex((bound) => length <= bound)]! += times;
    return {
      ...{ limit, texts, tokens, kept_tokens: kept, cut, longest },
      histogram: { up_to: upTo, count },
    };
  }
}
