/** What ranks tell people: rank 0 speaks for all, and the others say what it did not. */
import { broadcastJson, type Communicator } from './communicator.js';

export class RankNotes {
  private lines: string[] = [];

  constructor(
    private readonly ranks: Communicator,
    /** Of this rank; it says which one it is. */
    private readonly tell: (line: string) => void,
  ) {}

  /** Told now by rank 0; of other ranks kept for `compare`. */
  readonly note = (line: string): void => {
    if (this.ranks.rank === 0) this.tell(line);
    if (this.ranks.size > 1) this.lines.push(line);
  };

  /** Other ranks tell what they noted since the last time and rank 0 did not. All ranks call it. */
  async compare(): Promise<void> {
    if (this.ranks.size === 1) return;
    const said = new Set(await broadcastJson(this.ranks, this.lines));
    if (this.ranks.rank > 0) for (const line of this.lines) if (!said.has(line)) this.tell(line);
    this.lines = [];
  }
}
