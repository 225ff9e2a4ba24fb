/**
 * The library: tensors and autograd on WebGPU, M3 models, and their training.
 *
 * @packageDocumentation
 */

export type { Axes } from './autograd/axes.js';
export type { ElementRange, GradientBucket } from './autograd/buckets.js';
export type { DenseGradient, RowGradient, RowGradients } from './autograd/gradients.js';
export * from './autograd/index.js';
export type { ParameterPart, TableParameter } from './autograd/parameter.js';
export { Parameter, type ParameterSpec } from './autograd/parameter.js';
export { ParameterStore } from './autograd/parameter-store.js';
export type { Input as RecordedInput } from './autograd/tape.js';
export type { ErrorStream } from './console/display.js';
export type { StopRequest } from './console/interruption.js';
export type { ErrorRecord, NoticeRecord, ProgressRecord } from './console/progress-record.js';
export type { LogEntry } from './console/reporter.js';
export {
  type ConsoleOptions,
  consoleReporter,
  type Reporter,
  type StepFigures,
  silentReporter,
} from './console/reporter.js';
export type { OperandFacts } from './errors.js';
export { InputError, MachineError, ShapeError } from './errors.js';
export type { JsonObject } from './files/json.js';
export {
  type CommandLine,
  type Flag,
  type FlagTable,
  type FlagValues,
  type Origin,
  type ParsedCommand,
  type ProgressMode,
  progressModes,
  type ValueType,
} from './flags.js';
export type { Binding } from './gpu/bindings.js';
export type { Capabilities, SubgroupMatrixConfig } from './gpu/capabilities.js';
export type { ChoicesRecord, Decision, ForcedKernels, KernelChoices } from './gpu/choices.js';
export type { CpuFacts } from './gpu/cpu.js';
export type { SoftwareDriverName } from './gpu/driver-cache.js';
export type { PlannedDevice } from './gpu/gpu.js';
export { Gpu, type GpuOptions, type LiveTensor } from './gpu/gpu.js';
export type { LiveTensors, TrackedHandle } from './gpu/live-tensors.js';
export type {
  BufferPool,
  MemoryReport,
  PoolBuffer,
  PoolEntry,
  Purpose,
  ReadbackBuffer,
  RowFormat,
  RowTexture,
} from './gpu/memory.js';
export type { ShaderSource } from './gpu/pipelines.js';
export type {
  HostPhase,
  LaunchSpan,
  Profile,
  ProfileRow,
  TimedDispatch,
  Window as ProfileWindow,
  Work as KernelWork,
} from './gpu/profile-report.js';
export type { PendingGather, PendingRead } from './gpu/transfer.js';
export type { Version as StorageVersion } from './gpu/version.js';
export type { DownloadOptions, DownloadProgress, DownloadReport } from './hub/download.js';
export type { AccessToken } from './hub/settings.js';
export type { Transport } from './hub/transport.js';
export type { AttentionDropout } from './kernels/attention/layout.js';
export type { FloatDType } from './kernels/launch/formats.js';
export type { MaxSimBlock, MaxSimLayout, MaxSimPart, TokenRange } from './kernels/maxsim/layout.js';
export type { TensorOrNumber } from './kernels/pointwise.js';
export type { SparseMatches } from './kernels/sparse.js';
export { type EncoderConfig, readEncoderConfig } from './models/config.js';
export { CrossEncoder, type CrossEncoderOptions } from './models/cross-encoder.js';
export type { EncodeOptions } from './models/encoder.js';
export { resolveModelFolder } from './models/hub-cache.js';
export type { TokenizerFiles } from './models/m3.js';
export { M3Model } from './models/m3.js';
export type { M3Options, M3Settings } from './models/m3-parameters.js';
export type { BaseModel, CardDetails } from './models/model-card.js';
export type { ModelFolderContents } from './models/model-folder.js';
export type { Representations, ScoredBatch } from './models/scores.js';
export type { TextSettings } from './models/sentence-files.js';
export type { Pooling } from './models/token-batch.js';
export { TokenBatch } from './models/token-batch.js';
export type { StepResult } from './optim/optimizer.js';
export type { Placement, StateSource } from './optim/state.js';
export { type Phase, phases, type Unit, units, type Work } from './progress.js';
export {
  type Communicator,
  type Pending,
  RankError,
  type RankFailure,
  type WireFormat,
} from './ranks/communicator.js';
export { openGpuOfPlace, requireOwnGpu, type WantedAdapters } from './ranks/rank-adapter.js';
export type { RankContext, RankModule } from './ranks/rank-messages.js';
export { RankThreads, type RankThreadsOptions } from './ranks/rank-threads.js';
export { SingleCommunicator } from './ranks/single.js';
export type { Embedder, EmbedderSurroundings } from './retrieval/embedder/open.js';
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
export type { RetrievalMetrics, RetrievalTask } from './retrieval/evaluate/one-relevant.js';
export { evaluateRetrieval } from './retrieval/evaluate/one-relevant.js';
export { readQrels } from './retrieval/evaluate/qrels-file.js';
export { compareUtf8, type Hit, type Qrels, type Run, trecOrder } from './retrieval/evaluate/ranking.js';
export type {
  HybridWeights,
  RetrievalModel,
  RetrievalSettings,
  RetrievalSurroundings,
} from './retrieval/evaluate/retrieve.js';
export {
  type Candidates,
  hybridRanking,
  type Ranking,
  type RetrievalRequest,
  type Retrieved,
  retrieve,
} from './retrieval/evaluate/retrieve.js';
export { readRun, writeRun } from './retrieval/evaluate/run-file.js';
export type { PairedTestOptions } from './retrieval/evaluate/significance.js';
export { type PairedTest, pairedTest } from './retrieval/evaluate/significance.js';
export type { TunedWeights } from './retrieval/evaluate/weights.js';
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
export type { ScoreSurroundings } from './retrieval/score/score.js';
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
export type { SparseHits } from './retrieval/search/inverted-index.js';
export { InvertedIndex, InvertedIndexBuilder } from './retrieval/search/inverted-index.js';
export type { Metric, Neighbours } from './retrieval/search/neighbours.js';
export { parseSplitArguments, type SplitArguments } from './retrieval/split/arguments.js';
export { type SplitRecord, splitByLength } from './retrieval/split/split.js';
export type { TextOptions, TextRole } from './retrieval/texts.js';
export { openVectors, type VectorFile, writeNpy } from './retrieval/vectors/files.js';
export { memoryRows, type VectorRows } from './retrieval/vectors/rows.js';
export type { SpoolOptions } from './retrieval/vectors/spool.js';
export { VectorSpool } from './retrieval/vectors/spool.js';
export {
  type BatcherOptions,
  type BatchFacts,
  type CancelSignal,
  type ComputeOptions,
  EmbeddingBatcher,
  QueueFullError,
  type ReadOptions,
  TextTooLongError,
  type TextValues,
} from './serve/batcher.js';
export type { EngineOptions, ServedEmbedder } from './serve/engine.js';
export type { Served, ServedOptions } from './serve/served.js';
export { createEmbeddingServer, type EmbeddingServer, type EmbeddingServerOptions } from './serve/server.js';
export { type EnsureDriverOptions, type EnsuredDriver, ensureDriver } from './setup/setup.js';
export type { FileDType, FloatFileDType, HostArray } from './tensor/dtype.js';
export type { ArrayOf, HostData, TensorArray } from './tensor/host-data.js';
export type { NestedData, NestedValues } from './tensor/nested.js';
export { PackedSequences } from './tensor/packed.js';
export type { RandomStream } from './tensor/random-streams.js';
export { RandomStreams } from './tensor/random-streams.js';
export type { Segments } from './tensor/row-index.js';
export { RowIndex } from './tensor/row-index.js';
export type { Disposable as ScopedItem } from './tensor/scope.js';
export { noGrad, scope } from './tensor/scope.js';
export type { Shape } from './tensor/shape.js';
export type { TapeNode } from './tensor/tensor.js';
export { type DType, type GradientSink, type LeafRole, Tensor } from './tensor/tensor.js';
export type { EncodedPair } from './tokenizer/pairs.js';
export { TokenizerThreads, type TokenizerThreadsOptions } from './tokenizer/threads.js';
export type { TokenizerOptions, TokenizerSource } from './tokenizer/tokenizer.js';
export { Tokenizer } from './tokenizer/tokenizer.js';
export type { ParsedArguments } from './train/arguments.js';
export { type FinetuneArguments, parseFinetuneArguments } from './train/arguments.js';
export type { LossWeights, M3LossParts, M3Scores } from './train/losses/m3-loss.js';
export { type M3LossBatch, type M3LossSettings, m3Loss } from './train/losses/m3-loss.js';
export type { DistillationKind } from './train/losses/score-loss.js';
export { StoreAdamW, type StoreAdamWOptions } from './train/optimizer.js';
export type { AdamWState } from './train/optimizer-state.js';
export type { Ownership } from './train/ranks/ownership.js';
export type { OwnedRange, Shard } from './train/ranks/shard.js';
export type { CollateOptions } from './train/step/collate.js';
export { collate } from './train/step/collate.js';
export type { StepWatch } from './train/step/train-step.js';
export { forwardBackward, type StepContext, type StepSettings } from './train/step/train-step.js';
export type { FinetuneResult } from './train/trainer.js';
export { finetune } from './train/trainer.js';
export { openWeights } from './weights/open.js';
export type { TensorSpec } from './weights/safetensors.js';
export { SafetensorsFile, SafetensorsWriter, writeSafetensors } from './weights/safetensors.js';
export type { StateTensor } from './weights/save-tensors.js';
export type { SavedDType, SavedFormat, WrittenTensor } from './weights/saved-weights.js';
export type { FloatPiece, StoredBytes, TensorInfo, WeightSource } from './weights/source.js';
export type { TorchTensor } from './weights/torch-file.js';
export { readTorchFile, TorchFile, writeTorchFile } from './weights/torch-file.js';
export type { TorchDType, TorchEntry } from './weights/torch-writer.js';
