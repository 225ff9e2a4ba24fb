/** The course of a run, or of several over one another: losses, rate, gradients, loss scale, speed. */
import type { RunRecord } from '../run-record/record.js';
import { type Curve, componentMeasures, curveOf, LOSS, logOf, MEASURES, type Measure } from './curves.js';
import { type Figure, type FigureCurve, figure } from './figure.js';
import { smallSteps } from './loss-course.js';
import { counted } from './numbers.js';
import { chartSection, type Section } from './section.js';

/** A run among those of a comparison. */
export interface NamedRun {
  readonly name: string;
  readonly record: RunRecord;
}

/** Of one run: its losses in one chart, the rest each in its own. */
export function courseSections(record: RunRecord): Section[] {
  const losses = [
    { label: 'loss', colour: 0, curve: curveOf(record, LOSS) },
    ...componentMeasures([record]).map((measure) => {
      const { raw: _, low: __, high: ___, ...curve } = curveOf(record, measure) ?? {};
      return {
        label: measure.label,
        colour: measure.colour,
        curve: 'steps' in curve ? (curve as Curve) : undefined,
      };
    }),
  ].filter((each): each is FigureCurve => each.curve !== undefined);
  const several = losses.length > 1;
  const loss =
    losses.length > 0 &&
    figure(
      {
        ...LOSS,
        title: several ? 'Loss by component' : 'Training loss',
        about: `${
          several
            ? 'The loss that is minimised, and that of each score matrix before it is weighed.'
            : sentence(LOSS.about)
        }${gaps(record)}${smallBatches([record])}`,
      },
      losses,
    );
  return sections(
    loss ? [loss] : [],
    MEASURES.flatMap((measure) => measureFigure(measure, [{ name: measure.title, record }])),
  );
}

/** Why a curve has none. */
function gaps({ steps }: RunRecord): string {
  const skipped = (steps.skipped ?? []).reduce((sum, count) => sum + count, 0);
  return skipped === 0 || steps.stride > 1
    ? ''
    : ` Gaps: ${counted(skipped, 'step')} overflowed and ${skipped === 1 ? 'was' : 'were'} skipped.`;
}

/** Why single steps of a curve stand below the others. */
function smallBatches(records: readonly RunRecord[]): string {
  return records.some((record) => smallSteps(record).size > 0)
    ? ' A smaller last batch of an epoch has fewer negatives and so a smaller loss: its steps stand below the others.'
    : '';
}

/** Of several: a chart for each quantity, with a curve of each run that has it. */
export function comparedCourses(runs: readonly NamedRun[]): Section[] {
  const components = componentMeasures(runs.map(({ record }) => record));
  return sections(
    [LOSS, ...components].flatMap((measure) =>
      measureFigure(measure, runs, measure === LOSS ? smallBatches(runs.map(({ record }) => record)) : ''),
    ),
    MEASURES.flatMap((measure) => measureFigure(measure, runs)),
  );
}

function sections(losses: readonly Figure[], others: readonly Figure[]): Section[] {
  return [
    ...(losses.length > 0 ? [chartSection('loss-section', 'Loss', losses)] : []),
    ...(others.length > 0 ? [chartSection('course', 'Course of training', others)] : []),
  ];
}

/** No figure where no run has a value. */
function measureFigure(measure: Measure, runs: readonly NamedRun[], more = ''): Figure[] {
  const curves = runs.flatMap(({ name, record }, i): FigureCurve[] => {
    const curve = curveOf(record, measure);
    return curve ? [{ label: name, colour: i, curve }] : [];
  });
  if (curves.length === 0) return [];
  const about = `${measure.about === '' ? '' : sentence(measure.about)}${more}`;
  return [
    figure(
      {
        ...measure,
        about,
        dashed: runs.length > 1,
        log: logOf(
          measure,
          curves.map(({ curve }) => curve),
        ),
      },
      curves,
    ),
  ];
}

const sentence = (words: string): string => `${words[0]!.toUpperCase()}${words.slice(1)}.`;
