/** What a command that trains says when it is interrupted, and how it stops. */
import type { Interruption, Reached } from '../console/interruption.js';

/** Of commands that train; those that do not look at `requested` have its `where` alone. */
export const trainingInterruption = {
  stopsBy: 'the run ends with the step that is in hand and saves a checkpoint',
  where({ totalSteps, step, saved }: Reached): string {
    const place = totalSteps === undefined ? 'before the first step' : `at step ${step} of ${totalSteps}`;
    const whole =
      saved === undefined
        ? 'no checkpoint yet'
        : saved === 'model'
          ? 'the model is written'
          : `newest whole checkpoint: ${saved}`;
    return `interrupted ${place}; ${whole}`;
  },
} satisfies Interruption;
