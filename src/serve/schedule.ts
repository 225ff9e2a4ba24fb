/**
 * Which of the waiting texts make the next batch. Batches are filled by turns in one of two orders: the oldest request
 * first, so that none waits for ever, and the one with the least left to do first (SRPT, Schrage 1968), so that a short
 * text does not wait for the long ones that came before it.
 */

/** A request some of whose texts wait. */
export interface WaitingRequest {
  /** Requests of one kind may share a batch: what is computed of their texts is the same. */
  readonly kind: string;
  /** Tokens of the texts that wait, in the order in which they are computed. */
  readonly lengths: readonly number[];
  /** Texts at the front of `lengths` that are computed already. */
  readonly next: number;
  /** Tokens of the texts that wait. */
  readonly tokens: number;
  /** Shares no batch. */
  readonly alone: boolean;
}

/** So many of the next texts of a request. */
export interface Share<Request> {
  readonly request: Request;
  readonly texts: number;
}

/**
 * The next batch of `waiting`, which are in the order of their arrival: at most `batchTokens` tokens, or one text. Of a
 * request the next texts are taken in their order, so that one that is alone is cut into batches as `encode` cuts it.
 */
export function nextBatch<Request extends WaitingRequest>(
  waiting: readonly Request[],
  batchTokens: number,
  order: 'oldest' | 'shortest',
): Share<Request>[] {
  const line = order === 'oldest' ? waiting : waiting.map((each) => each).sort((a, b) => a.tokens - b.tokens);
  const first = line[0];
  if (!first) return [];
  const batch: Share<Request>[] = [];
  let room = batchTokens;
  for (const request of line) {
    if (request !== first && (request.kind !== first.kind || request.alone || first.alone)) continue;
    let texts = 0;
    while (request.next + texts < request.lengths.length) {
      const length = request.lengths[request.next + texts]!;
      if (length > room && room < batchTokens) break;
      room -= length;
      texts++;
      if (room <= 0) break;
    }
    if (texts > 0) batch.push({ request, texts });
    if (room <= 0) break;
  }
  return batch;
}
