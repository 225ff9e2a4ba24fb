/**
 * The sum over ranks of a table's gradient, of which each rank has some rows. Row r is summed by rank r mod W: every
 * rank sends it what it has of those rows, it adds them in rank order in f32, and gives the sums to all. Which rows
 * each rank has is told first, so that nothing but values travels after it.
 *
 * Where rows would take more bytes than the whole table (all ranks have nearly all of its rows) the table is summed
 * as any other gradient.
 */

import { bytesOf, type Communicator, floatsOf, partOf, type WireFormat } from '../../ranks/communicator.js';
import { bf16ToF32, f32ToBf16 } from '../../tensor/dtype.js';

/** `values` [rows.length, cols], `rows` distinct and ascending. */
export interface HostRows {
  readonly rows: Uint32Array;
  readonly values: Float32Array;
}

export interface SummedRows extends HostRows {
  /** Bytes that this rank sent to others. */
  readonly sent: number;
}

export interface RowTable {
  readonly rows: number;
  readonly cols: number;
}

/** The rows that any rank has, and their sums, the same bits on all ranks; all ranks call it, those without rows too. */
export async function sumRows(
  own: HostRows,
  table: RowTable,
  communicator: Communicator,
  wire: WireFormat = 'f32',
): Promise<SummedRows> {
  const { rank, size } = communicator;
  const lists = (await communicator.allGather(bytesOf(own.rows))).map(
    (bytes) => new Uint32Array(bytes.slice().buffer),
  );
  const { rows, whole, sent } = rowExchange(lists, table, communicator, wire);
  if (rows.length === 0) return { rows, values: new Float32Array(), sent };
  if (whole) return { rows, values: await sumWhole(own, rows, table, communicator, wire), sent };

  const parts = await communicator.exchange(
    Array.from({ length: size }, (_, owner) => packed(own, owner, size, table.cols, wire)),
  );
  const mine = rows.filter((row) => row % size === rank);
  const sums = new Float32Array(mine.length * table.cols);
  addParts(sums, mine, lists, parts, communicator, table.cols, wire);
  const gathered = await communicator.allGather(encoded(sums, wire));
  const sumsOf = gathered.map((bytes) => decoded(bytes, wire));
  const values = new Float32Array(rows.length * table.cols);
  const next = new Array<number>(size).fill(0);
  for (let i = 0; i < rows.length; i++) {
    const owner = rows[i]! % size;
    const at = next[owner]!++ * table.cols;
    values.set(sumsOf[owner]!.subarray(at, at + table.cols), i * table.cols);
  }
  return { rows, values, sent };
}

export interface RowExchange {
  /** That any rank has, ascending. */
  readonly rows: Uint32Array;
  /** The table is summed like any other gradient. */
  readonly whole: boolean;
  /** Bytes that this rank sends to others, the numbers of its rows among them. */
  readonly sent: number;
}

/** How the rows of a table are summed of which rank r has those of `lists[r]`. */
export function rowExchange(
  lists: readonly Uint32Array[],
  { rows: tableRows, cols }: RowTable,
  place: Place,
  wire: WireFormat,
): RowExchange {
  const { rank, size } = place;
  const own = lists[rank]!;
  const rows = unionOf(lists, tableRows);
  const told = own.byteLength * (size - 1);
  const width = cols * (wire === 'bf16' ? 2 : 4);
  const given = lists.reduce((sum, list) => sum + list.length, 0);
  // What all ranks send together: each row that a rank has, to its owner, and each sum to the others.
  const byRows = width * (given * (1 - 1 / size) + rows.length * (size - 1));
  if (rows.length > 0 && byRows >= 2 * width * tableRows * (size - 1))
    return { rows, whole: true, sent: told + bytesOfSum(tableRows * cols, place, wire) };
  const counted = (list: Uint32Array, mine: boolean) =>
    list.reduce((count, row) => count + ((row % size === rank) === mine ? 1 : 0), 0);
  const values = counted(own, false) + counted(rows, true) * (size - 1);
  return { rows, whole: false, sent: told + width * values };
}

/** Rows that are in any of the lists, ascending. */
function unionOf(lists: readonly Uint32Array[], tableRows: number): Uint32Array {
  const present = new Uint8Array(tableRows);
  let count = 0;
  for (const list of lists)
    for (const row of list) {
      count += 1 - present[row]!;
      present[row] = 1;
    }
  const rows = new Uint32Array(count);
  for (let row = 0, n = 0; n < count; row++) if (present[row]) rows[n++] = row;
  return rows;
}

type Place = Pick<Communicator, 'rank' | 'size'>;

/** Bytes that a rank sends so that each rank has the sums of its own part of `count` values: the others' parts. */
export function bytesOfPart(count: number, { rank, size }: Place, wire: WireFormat): number {
  const { start, end } = partOf(count, size, rank);
  return (wire === 'bf16' ? 2 : 4) * (count - (end - start));
}

/** And so that all have all sums: its own ones to each of the others too. */
export function bytesOfSum(count: number, place: Place, wire: WireFormat): number {
  const { start, end } = partOf(count, place.size, place.rank);
  return bytesOfPart(count, place, wire) + (wire === 'bf16' ? 2 : 4) * (end - start) * (place.size - 1);
}

async function sumWhole(
  own: HostRows,
  rows: Uint32Array,
  { rows: tableRows, cols }: RowTable,
  communicator: Communicator,
  wire: WireFormat,
): Promise<Float32Array> {
  const whole = communicator.memory(tableRows * cols);
  own.rows.forEach((row, i) => {
    whole.set(own.values.subarray(i * cols, (i + 1) * cols), row * cols);
  });
  await communicator.startSum(whole, wire).wait();
  const values = new Float32Array(rows.length * cols);
  rows.forEach((row, i) => {
    values.set(whole.subarray(row * cols, (row + 1) * cols), i * cols);
  });
  return values;
}

/** What goes to the owner of rows r with r mod size = owner. */
function packed(
  { rows, values }: HostRows,
  owner: number,
  size: number,
  cols: number,
  wire: WireFormat,
): Uint8Array {
  const positions = [...rows.keys()].filter((i) => rows[i]! % size === owner);
  const part = new Float32Array(positions.length * cols);
  positions.forEach((i, n) => {
    part.set(values.subarray(i * cols, (i + 1) * cols), n * cols);
  });
  return encoded(part, wire);
}

/** Adds each rank's values to the sums of the rows that are this rank's own, in rank order. */
function addParts(
  sums: Float32Array,
  mine: Uint32Array,
  lists: readonly Uint32Array[],
  parts: readonly Uint8Array[],
  { rank, size }: Communicator,
  cols: number,
  wire: WireFormat,
): void {
  const at = new Map(Array.from(mine, (row, i) => [row, i]));
  lists.forEach((list, from) => {
    const values = decoded(parts[from]!, wire);
    let n = 0;
    for (const row of list) {
      if (row % size !== rank) continue;
      const target = at.get(row)! * cols;
      const source = n++ * cols;
      for (let c = 0; c < cols; c++) sums[target + c]! += values[source + c]!;
    }
  });
}

function encoded(values: Float32Array, wire: WireFormat): Uint8Array {
  return bytesOf(wire === 'f32' ? values : f32ToBf16(values));
}

function decoded(bytes: Uint8Array, wire: WireFormat): Float32Array {
  return wire === 'f32' ? floatsOf(bytes) : bf16ToF32(new Uint16Array(bytes.slice().buffer));
}
