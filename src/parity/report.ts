/** What the parity command prints. */

export interface ParityCheck {
  readonly section: string;
  readonly name: string;
  readonly measured: number;
  readonly bound: number;
  readonly ok: boolean;
}

/** One line a section and kind of check: the worst of it. Failures are listed one by one. */
export function renderParity(checks: readonly ParityCheck[]): string {
  const rows = new Map<
    string,
    { section: string; kind: string; count: number; worst: ParityCheck; failed: number }
  >();
  for (const check of checks) {
    const kind = check.name
      .replace(/^gradient .*|^‖gradient .*/, (text) =>
        text.startsWith('‖') ? 'key bias gradients' : 'gradients',
      )
      .replace(/^Δ .*key\.bias.*/, 'updates of key biases')
      .replace(/^Δ .*word_embeddings.*/, 'updates of word embeddings')
      .replace(/^Δ .*/, 'updates')
      .replace(/^step \d+ /, '')
      .replace(/^hidden state \d+/, 'hidden states')
      .replace(/^.*pooler.*/, 'pooler');
    const key = `${check.section}\n${kind}`;
    const row = rows.get(key) ?? { section: check.section, kind, count: 0, worst: check, failed: 0 };
    row.count++;
    if (!check.ok) row.failed++;
    if (!(check.measured / check.bound <= row.worst.measured / row.worst.bound)) row.worst = check;
    rows.set(key, row);
  }
  const number = (value: number) => (Number.isInteger(value) ? String(value) : value.toExponential(1));
  /** Three digits, or all where three would not show that the bound is passed. */
  const above = (measured: number, bound: number) => {
    const rounded = Number(measured.toPrecision(3));
    return String(rounded <= bound ? measured : rounded);
  };
  const table = [...rows.values()].map((row) => [
    row.section,
    row.kind,
    String(row.count),
    number(row.worst.measured),
    number(row.worst.bound),
    row.failed ? 'FAIL' : 'ok',
  ]);
  const header = ['section', 'check', 'n', 'worst', 'bound', ''];
  const widths = header.map((title, c) => Math.max(title.length, ...table.map((row) => row[c]!.length)));
  const line = (row: string[]) =>
    row
      .map((cell, c) => cell.padEnd(widths[c]!))
      .join('  ')
      .trimEnd();
  const failures = checks.filter((check) => !check.ok);
  return [
    line(header),
    ...table.map(line),
    '',
    ...failures
      .slice(0, 40)
      .map(
        ({ section, name, measured, bound }) =>
          `FAIL ${section}: ${name}: ${above(measured, bound)} > ${bound}`,
      ),
    `${checks.length - failures.length} of ${checks.length} checks hold`,
  ].join('\n');
}
