/** What `bench encode` and its libraries say to each other, a JSON object a line, over the processes of `bench peers`. */

export type EncodeRequest =
  | {
      readonly do: 'open';
      readonly model: string;
      readonly texts: readonly string[];
      readonly maxLength: number;
      readonly batchTokens: number;
      /** Of the others, in texts. */
      readonly peerBatchSize: number;
      readonly adapter: string | null;
      readonly fp16: boolean;
    }
  /** Encodes all texts, and of those at `probes` gives the numbers. */
  | { readonly do: 'check'; readonly all: boolean; readonly probes: readonly number[] }
  | { readonly do: 'run'; readonly all: boolean }
  | { readonly do: 'rest' };

/** What a library makes of one text; what was not asked for is absent. */
export interface Numbers {
  readonly dense: readonly number[];
  readonly lexical?: Readonly<Record<string, number>>;
  readonly colbert?: readonly number[];
}

export interface OpenedLibrary {
  readonly version: string;
  /** Where it computes. */
  readonly on: string;
  /** Tokens of all texts, as they are cut; of our own. */
  readonly tokens?: number;
}
