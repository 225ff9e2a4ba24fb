/** The flags of `dawntune report DIR [DIR…]`. */
import { InputError } from '../errors.js';
import { debugFlag, type FlagValues, group, optional, parseFlags, text } from '../flags.js';
import { SERIES_COLOURS } from '../html/style.js';

export const reportFlags = {
  ...group('Output', {
    output: optional(
      text('a path'),
      'the file to write, .html, or a folder that is there; by default report.html in the folder of the one run, comparison.html here for several. Only a report is overwritten',
    ),
  }),
  ...debugFlag,
};

export interface ReportArguments extends FlagValues<typeof reportFlags> {
  /** Output folders of runs, one at least. */
  readonly folders: readonly string[];
}

/** @throws InputError, one line that names the flag. */
export function parseReportArguments(argv: readonly string[]): {
  readonly args: ReportArguments;
  readonly notices: readonly string[];
} {
  const { values, positionals, notices } = parseFlags(reportFlags, argv, { positionals: true });
  if (positionals.length === 0)
    throw new InputError('report: expected the output folder of a run, or of several, found none');
  if (positionals.length > SERIES_COLOURS)
    throw new InputError(
      `report: expected at most ${SERIES_COLOURS} folders, as many as there are colours, found ${positionals.length}`,
    );
  return { args: { ...values, folders: positionals }, notices };
}
