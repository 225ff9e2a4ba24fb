/** The library: tensors and autograd on WebGPU, M3 models, and their training. */
export type { ElementRange, GradientBucket } from './autograd/buckets.js';
export * from './autograd/index.js';
export { Parameter, type ParameterSpec, ParameterStore } from './autograd/parameters.js';
export { InputError, MachineError, ShapeError } from './errors.js';
export type { Capabilities } from './gpu/capabilities.js';
export { Gpu, type GpuOptions, type LiveTensor } from './gpu/gpu.js';
export type { DownloadOptions, DownloadProgress, DownloadReport } from './hub/download.js';
export { type EncoderConfig, readEncoderConfig } from './models/config.js';
export { CrossEncoder, type CrossEncoderOptions } from './models/cross-encoder.js';
export { resolveModelFolder } from './models/hub-cache.js';
export { M3Model } from './models/m3.js';
export type { M3Options } from './models/m3-parameters.js';
export type { TextSettings } from './models/sentence-files.js';
export { TokenBatch } from './models/token-batch.js';
export type { StepResult } from './optim/optimizer.js';
export type { StateSource } from './optim/state.js';
export type { M3Embedding } from './retrieval/embedding.js';
export { type EncodeTextsOptions, encodeTexts } from './retrieval/encode/encode-texts.js';
export type { EncodedTexts, Representation } from './retrieval/encode/encoded.js';
export { type EncodeStreamOptions, encodeStream } from './retrieval/encode/stream.js';
export {
  type EvaluateArguments,
  parseEvaluateArguments,
  type RetrievalMode,
} from './retrieval/evaluate/arguments.js';
export { evaluate } from './retrieval/evaluate/evaluate.js';
export {
  type Evaluation,
  evaluateRun,
  type Metric as RetrievalMetric,
  means,
  metricName,
  metricsAt,
  parseMetric,
  queryMetrics,
} from './retrieval/evaluate/metrics.js';
export { evaluateRetrieval } from './retrieval/evaluate/one-relevant.js';
export { readQrels } from './retrieval/evaluate/qrels-file.js';
export { compareUtf8, type Hit, type Qrels, type Run, trecOrder } from './retrieval/evaluate/ranking.js';
export {
  type Candidates,
  hybridRanking,
  type Ranking,
  type RetrievalRequest,
  type Retrieved,
  retrieve,
} from './retrieval/evaluate/retrieve.js';
export { readRun, writeRun } from './retrieval/evaluate/run-file.js';
export { type PairedTest, pairedTest } from './retrieval/evaluate/significance.js';
export { tuneWeights } from './retrieval/evaluate/weights.js';
export { type MineArguments, parseMineArguments } from './retrieval/mine/arguments.js';
export { type MiningSummary, mine } from './retrieval/mine/mine.js';
export {
  type MinedRow,
  type NegativeRules,
  type Negatives,
  negativesOf,
} from './retrieval/mine/negatives.js';
export { colbertScore, denseScore, hybridScores, lexicalScore } from './retrieval/pair-scores.js';
export { parseScoreArguments, type ScoreArguments } from './retrieval/score/arguments.js';
export {
  type PairScoreOptions,
  type PairScores,
  type PairTexts,
  scorePairs,
} from './retrieval/score/pair-scores.js';
export type { Pairs } from './retrieval/score/pairs.js';
export { type RerankOptions, rerankPairs } from './retrieval/score/reranker.js';
export { type ScoreSummary, scoreFiles } from './retrieval/score/score.js';
export {
  combinedScores,
  type ScoreMode,
  type ScoreWeights,
  teacherEntropy,
} from './retrieval/score/teacher.js';
export {
  ApproximateIndex,
  type ApproximateOptions,
  type BuildOptions,
  buildApproximateIndex,
} from './retrieval/search/approximate.js';
export { type SearchOptions, searchExact } from './retrieval/search/exact.js';
export { InvertedIndex, InvertedIndexBuilder } from './retrieval/search/inverted-index.js';
export type { Metric, Neighbours } from './retrieval/search/neighbours.js';
export { parseSplitArguments, type SplitArguments } from './retrieval/split/arguments.js';
export { type SplitRecord, splitByLength } from './retrieval/split/split.js';
export type { TextOptions, TextRole } from './retrieval/texts.js';
export { openVectors, type VectorFile, writeNpy } from './retrieval/vectors/files.js';
export { memoryRows, type VectorRows } from './retrieval/vectors/rows.js';
export { VectorSpool } from './retrieval/vectors/spool.js';
export { type EnsureDriverOptions, type EnsuredDriver, ensureDriver } from './setup/setup.js';
export type { ArrayOf, HostData, TensorArray } from './tensor/host-data.js';
export type { NestedData, NestedValues } from './tensor/nested.js';
export { PackedSequences } from './tensor/packed.js';
export { RandomStreams } from './tensor/random-streams.js';
export { RowIndex } from './tensor/row-index.js';
export { noGrad, scope } from './tensor/scope.js';
export { type DType, type GradientSink, type LeafRole, Tensor } from './tensor/tensor.js';
export { TokenizerThreads, type TokenizerThreadsOptions } from './tokenizer/threads.js';
export { Tokenizer } from './tokenizer/tokenizer.js';
export { type FinetuneArguments, parseFinetuneArguments } from './train/arguments.js';
export { type M3LossBatch, type M3LossSettings, m3Loss } from './train/losses/m3-loss.js';
export { StoreAdamW, type StoreAdamWOptions } from './train/optimizer.js';
export type { AdamWState } from './train/optimizer-state.js';
export {
  type Communicator,
  type Pending,
  RankError,
  type RankFailure,
  type WireFormat,
} from './train/ranks/communicator.js';
export { openGpuOfPlace, requireOwnGpu, type WantedAdapters } from './train/ranks/rank-adapter.js';
export type { RankContext, RankModule } from './train/ranks/rank-messages.js';
export { RankThreads, type RankThreadsOptions } from './train/ranks/rank-threads.js';
export { SingleCommunicator } from './train/ranks/single.js';
export { consoleReporter, type Reporter, silentReporter } from './train/report.js';
export { collate } from './train/step/collate.js';
export { forwardBackward, type StepContext, type StepSettings } from './train/step/train-step.js';
export { finetune } from './train/trainer.js';
export { openWeights } from './weights/open.js';
export { SafetensorsFile, SafetensorsWriter, writeSafetensors } from './weights/safetensors.js';
export type { StateTensor } from './weights/save-tensors.js';
export type { SavedFormat } from './weights/saved-weights.js';
export type { WeightSource } from './weights/source.js';
export { readTorchFile, TorchFile, writeTorchFile } from './weights/torch-file.js';
