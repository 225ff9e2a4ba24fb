/**
 * What is wrong with lines and rows of files, gathered while they are read, so that a person who has forty broken rows is
 * told of all of them at once and not one by one. What a fault is belongs to whoever reads; that it stands on a line is
 * what its message begins with (`file:line: expected …, found …`).
 */
import { InputError } from '../errors.js';

/** Faults that are told with their lines; of the others only how many there are of each kind. */
const MOST_SHOWN = 10;
/** Of kinds that are told by name. */
const MOST_KINDS = 5;
/** A file with as many faults is of another kind altogether, and is not read to its end. */
const MOST = 1000;

/** Errors that end a reading in which faults were gathered. */
const gathered = new WeakMap<InputError, Faults>();

/** Faults of one reading, of however many files. */
export class Faults {
  private readonly messages: string[] = [];
  private first: InputError | undefined;
  /** By what was expected, of those that are not among the messages. */
  private readonly kinds = new Map<string, number>();
  private count = 0;

  /** `what`: how the things at fault are called. */
  constructor(private readonly what = 'rows') {}

  get found(): boolean {
    return this.count > 0;
  }

  /** What `read` returns; undefined where it finds a fault. @throws what is none, and all faults once there are too many. */
  attempt<T>(read: () => T): T | undefined {
    try {
      return read();
    } catch (error) {
      this.add(error);
      return undefined;
    }
  }

  /** The same for a reading that gathers faults of its own: any other error ends this one too. */
  joined<T>(read: () => T): T | undefined {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof InputError) || !gathered.has(error)) throw error;
      this.add(error);
      return undefined;
    }
  }

  /** @throws as `attempt`. */
  add(error: unknown): void {
    if (!(error instanceof InputError)) throw error;
    const others = gathered.get(error);
    // It was thrown because they are too many.
    if (others === this) throw error;
    this.first ??= others?.first ?? error;
    if (others) this.join(others);
    else this.note(error.message);
    if (this.count >= MOST) this.throwIfAny();
  }

  /** @throws InputError of all of them: the message of the first, the others below it. */
  throwIfAny(): void {
    const { first, count } = this;
    if (!first) return;
    const error = count === 1 ? first : new InputError(this.message, this.more);
    // It is made where the first fault was found.
    if (first.stack !== undefined) error.stack = first.stack.replace(first.message, () => error.message);
    gathered.set(error, this);
    throw error;
  }

  private get message(): string {
    const { messages, count, what } = this;
    const many = `the first of ${count} faulty ${what}`;
    return `${messages[0]} (${count < MOST ? many : `${many} or more: reading ended there`})`;
  }

  private get more(): string[] {
    const { messages, kinds, count } = this;
    const more = messages.slice(1);
    if (count === messages.length) return more;
    const byCount = [...kinds].sort(([, a], [, b]) => b - a);
    const named = byCount.slice(0, MOST_KINDS).map(([kind, times]) => `${times} × ${kind}`);
    if (byCount.length > MOST_KINDS) named.push('others');
    return [...more, `and ${count - messages.length} more: ${named.join('; ')}`];
  }

  private note(message: string): void {
    this.count++;
    if (this.messages.length < MOST_SHOWN) this.messages.push(message);
    else this.countKind(kindOf(message), 1);
  }

  private join({ messages, kinds, count }: Faults): void {
    for (const message of messages) this.note(message);
    for (const [kind, times] of kinds) this.countKind(kind, times);
    this.count += count - messages.length;
  }

  private countKind(kind: string, times: number): void {
    this.kinds.set(kind, (this.kinds.get(kind) ?? 0) + times);
  }
}

/** What was expected, without the file, the line, and numbers that differ from row to row. */
const kindOf = (message: string) =>
  message
    .replace(/^.*?(?=expected )/s, '')
    .replace(/, found .*$/s, '')
    .replace(/\d+/g, 'N');
