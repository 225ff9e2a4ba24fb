/**
 * Which files of a repository make a model here. Repositories hold much else: the same weights for other frameworks,
 * pictures, exports; of several forms of the weights one is taken.
 */
import { MODULES_FILE, TOKENIZER_FILES } from '../tokenizer/folder.js';
import { WEIGHT_FILES } from '../weights/open.js';

/** The file without which no folder holds an encoder. */
const CONFIG = 'config.json';

const BESIDE = [
  'colbert_linear.pt',
  'sparse_linear.pt',
  MODULES_FILE,
  'config_sentence_transformers.json',
  'sentence_bert_config.json',
];
/** What sentence-transformers keeps of a module (1_Pooling, 2_Normalize), one folder each. */
const MODULE_CONFIG = /^\d{1,3}_[A-Za-z]{1,50}\/config\.json$/;
/** sentence-transformers' file of lengths, which has had the names of models' classes. */
const LENGTH_CONFIG = /^(?:0_[A-Za-z]{1,50}\/)?sentence_[a-z-]{1,20}_config\.json$/;
/** The encoder's own folder, as sentence-transformers had it before version 2. */
const ENCODER_CONFIG = /^(0_[A-Za-z]{1,50}\/)config\.json$/;

export interface NeededFiles {
  /** The encoder's configuration, which comes into a snapshot last; it is one of `files`. */
  readonly gate: string;
  /** All but the weights. */
  readonly files: readonly string[];
  /** The form of the weights that is read where there are several; of an index the shards are needed too. */
  readonly weights: { readonly path: string; readonly isIndex: boolean } | undefined;
  /** What stands before the names of shards. */
  readonly encoder: string;
}

/** Undefined when there is no encoder. */
export function neededFiles(paths: ReadonlySet<string>): NeededFiles | undefined {
  const inner = paths.has(MODULES_FILE)
    ? [...paths].map((path) => ENCODER_CONFIG.exec(path)?.[1]).find((folder) => folder !== undefined)
    : undefined;
  const encoder = inner ?? '';
  const gate = encoder + CONFIG;
  if (!paths.has(gate)) return undefined;
  const known = new Set([CONFIG, ...TOKENIZER_FILES, ...BESIDE].map((name) => encoder + name));
  for (const name of BESIDE) known.add(name);
  const weights = WEIGHT_FILES.find(({ file }) => paths.has(encoder + file));
  return {
    gate,
    files: [...paths]
      .filter((path) => known.has(path) || MODULE_CONFIG.test(path) || LENGTH_CONFIG.test(path))
      .toSorted(),
    weights: weights && { path: encoder + weights.file, isIndex: weights.isIndex },
    encoder,
  };
}
