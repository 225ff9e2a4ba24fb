/** The model behind a server through the loss of its device: it is opened again once, or the server ends. */
import type { Embedder } from '../retrieval/embedder/open.js';
import type { EmbeddingBatcher } from './batcher.js';
import { type Refusal, unavailable } from './refusal.js';
import { type Served, type ServedOptions, servedOf } from './served.js';

/** What `Served` needs, and how it is let go. */
export type ServedEmbedder = Served['embedder'] & Partial<Pick<Embedder, 'close'>>;

/** What is served, and what becomes of a lost device. */
export interface EngineOptions extends ServedOptions {
  /** Opens the model anew on a device that is there. Without it a lost device is final. */
  reopen?: (() => Promise<ServedEmbedder>) | undefined;
  /** For people, one line. */
  note?: ((line: string) => void) | undefined;
}

/** Seconds after which a client may ask again while the model is opened. */
const REOPENING = 10;

export class Engine {
  private current: Served | undefined;
  private reason: string | undefined;
  /** Batches since the model was opened. */
  private batches = 0;
  private reopening: Promise<void> | undefined;

  /** `ended`: is told why nothing can be computed any more. */
  constructor(
    private embedder: ServedEmbedder,
    private readonly options: EngineOptions,
    private readonly ended: (error: Error) => void,
  ) {
    this.current = this.start(embedder);
  }

  /** Undefined while there is no device. */
  get batcher(): EmbeddingBatcher | undefined {
    return this.current?.batcher;
  }

  /** @throws Refusal while there is no device. */
  get served(): Served {
    this.look();
    if (!this.current) throw this.refusal();
    return this.current;
  }

  refusal(): Refusal {
    const again = this.reopening !== undefined;
    return unavailable(
      `${this.reason ?? 'the server is ending'}${again ? '; the model is opened again' : ''}`,
      again ? REOPENING : undefined,
    );
  }

  /** Looks whether the device is still there, e.g. after something failed. @returns whether it is. */
  look(): boolean {
    const lost = this.current?.batcher.model.gpu.lost;
    if (lost === undefined) return this.current !== undefined;
    this.reason = lost;
    const { batcher } = this.current!;
    this.current = undefined;
    this.options.note?.(lost);
    const { reopen } = this.options;
    const again = reopen !== undefined && this.batches > 0;
    this.reopening = again ? this.open(batcher, reopen) : undefined;
    if (!again)
      void batcher
        .close(this.refusal())
        .then(() => this.ended(Object.assign(new Error(lost), { exitCode: 1 })));
    return false;
  }

  /** Lets the model go. */
  async close(): Promise<void> {
    await this.reopening;
    await this.current?.batcher.close(this.refusal());
    this.current = undefined;
    await this.embedder.close?.();
  }

  private start(embedder: ServedEmbedder): Served {
    this.batches = 0;
    return servedOf(embedder, {
      ...this.options,
      onBatch: (batch) => {
        this.batches++;
        this.options.onBatch?.(batch);
      },
    });
  }

  private async open(batcher: EmbeddingBatcher, reopen: () => Promise<ServedEmbedder>): Promise<void> {
    // Set by whoever called, whose promise this is.
    await Promise.resolve();
    try {
      await batcher.close(this.refusal());
      await this.embedder.close?.();
      this.embedder = await reopen();
      this.current = this.start(this.embedder);
      this.options.note?.('the model is open again');
    } catch (error) {
      this.ended(error as Error);
    }
    this.reopening = undefined;
  }
}
