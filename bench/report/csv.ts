/** Rows as comma-separated values (RFC 4180): one column a field, fields of objects as `object.field`. */

type Cell = string | number | boolean | null;

export function toCsv(rows: readonly object[]): string {
  const flat = rows.map((row) => new Map(cells(row)));
  const columns = [...new Set(flat.flatMap((row) => [...row.keys()]))];
  const lines = flat.map((row) => columns.map((column) => quoted(row.get(column) ?? null)).join(','));
  return [columns.map(quoted).join(','), ...lines].map((line) => `${line}\r\n`).join('');
}

function cells(value: object, prefix = ''): [string, Cell][] {
  return Object.entries(value).flatMap(([name, member]): [string, Cell][] =>
    typeof member === 'object' && member !== null
      ? cells(member, `${prefix}${name}.`)
      : [[`${prefix}${name}`, member ?? null]],
  );
}

function quoted(cell: Cell): string {
  const text = cell === null ? '' : String(cell);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
