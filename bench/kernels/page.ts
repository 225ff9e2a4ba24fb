/** The page of a kernel suite: a section with charts for each family, and all rows in a table. */
import type { Family } from '../../src/kernels/variants.js';
import { type BarGroup, barChart } from '../report/chart.js';
import { page, type Section, type Table } from '../report/page.js';
import { digits, type KernelReport, rate } from './report.js';
import type { KernelRow } from './row.js';

export function kernelPage(report: KernelReport, families: readonly Family[]): string {
  const { peaks, rows } = report;
  const facts = peaks
    ? ([
        [
          'measured peaks',
          `${digits(peaks.gflops)} GFLOP/s multiplied and added, ${digits(peaks.gbPerSecond)} GB/s copied`,
        ],
      ] as const)
    : [];
  const sections = families.flatMap((family) => {
    const own = rows.filter((row) => row.family === family.name);
    return own.length === 0 ? [] : [sectionOf(family, own)];
  });
  return page(`dawntune bench ${report.suite}`, report, facts, sections, tableOf(rows));
}

function sectionOf(family: Family, rows: readonly KernelRow[]): Section {
  // In the order of the family, so that a colour means the same variant in all charts of a page.
  const names = family.variants
    .map(({ name }) => name)
    .filter((name) => rows.some(({ variant }) => variant === name));
  const units = [...new Set(rows.map((row) => rate(row).unit))];
  return {
    title: family.name,
    summary: family.summary,
    legend: names.map((name) => ({
      name,
      why: family.variants.find((variant) => variant.name === name)!.why,
    })),
    charts: units.map((unit) =>
      barChart(
        {
          unit,
          groups: groupsOf(
            rows.filter((row) => rate(row).unit === unit),
            names,
          ),
        },
        family.name,
      ),
    ),
  };
}

function groupsOf(rows: readonly KernelRow[], names: readonly string[]): BarGroup[] {
  const kernels = [...new Set(rows.map(({ kernel }) => kernel))];
  return kernels.map((kernel) => {
    const own = rows.filter((row) => row.kernel === kernel);
    const first = own[0]!;
    return {
      label: kernel.slice(first.family.length + 1),
      limit:
        first.rooflineMilliseconds === null
          ? null
          : (rate(first).value * first.milliseconds) / first.rooflineMilliseconds,
      bars: own.map((row) => {
        const { value } = rate(row);
        return {
          label: row.variant,
          value,
          low: (value * row.milliseconds) / row.upperQuartile,
          high: (value * row.milliseconds) / row.lowerQuartile,
          series: names.indexOf(row.variant),
          note: row.roofline === null ? '' : `${(row.roofline * 100).toFixed(0)} %`,
        };
      }),
    };
  });
}

const COLUMNS = [
  ['kernel', false],
  ['variant (✓ the device’s choice)', false],
  ['rate', true],
  ['median ms (quartiles)', true],
  ['host ms', true],
  ['GPU ms', true],
  ['of the roofline', true],
  ['GFLOP per CPU\u2011second', true],
  ['samples', true],
  ['error / allowed', true],
] as const;

function tableOf(rows: readonly KernelRow[]): Table {
  return {
    columns: COLUMNS.map(([title, number]) => ({ title, number })),
    rows: rows.map((row) => {
      const { value, unit } = rate(row);
      return [
        row.kernel,
        `${row.variant}${row.chosen ? ' ✓' : ''}`,
        `${digits(value)} ${unit}`,
        `${digits(row.milliseconds)} (${digits(row.lowerQuartile)} – ${digits(row.upperQuartile)})`,
        digits(row.hostMilliseconds),
        row.gpuMilliseconds === null ? '–' : digits(row.gpuMilliseconds),
        row.roofline === null ? '–' : `${(row.roofline * 100).toFixed(0)} % (${row.bound})`,
        row.gflopPerCpuSecond === null ? '–' : digits(row.gflopPerCpuSecond),
        row.repeats === 1 || row.clock === 'gpu' ? String(row.samples) : `${row.samples} × ${row.repeats}`,
        `${row.error.toExponential(1)} / ${row.tolerance.toExponential(0)}`,
      ];
    }),
  };
}
