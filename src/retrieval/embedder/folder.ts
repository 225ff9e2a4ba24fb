/** The folder of the model that a command of this room names, on each of its ranks. */

import type { Reporter } from '../../console/reporter.js';
import { downloadReport } from '../../hub/download-report.js';
import { resolveModelFolder } from '../../models/hub-cache.js';
import type { Communicator } from '../../ranks/communicator.js';
import { folderOnAllRanks } from '../../ranks/folder.js';
import type { EmbedderArguments } from './arguments.js';

/** `name`: a folder or a hub id, as `flag` gives it. All ranks call it. @throws as `resolveModelFolder`; RankError. */
export function namedFolder(
  name: string,
  flag: string,
  { cacheDir, token, revision }: Pick<EmbedderArguments, 'cacheDir' | 'token' | 'revision'>,
  communicator: Communicator,
  report: Pick<Reporter, 'note' | 'progress'>,
): Promise<string> {
  return folderOnAllRanks(communicator, name, () =>
    resolveModelFolder(
      name,
      {
        ...{ cacheDir, token, revision },
        report: downloadReport({
          ...report,
          note: (line) => {
            if (communicator.rank === 0) report.note(line);
          },
        }),
      },
      flag,
    ),
  );
}
