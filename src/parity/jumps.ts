/**
 * ColBERT's maxima in mixed precision. Where two tokens of a passage match a token of the query as well as each other, the
 * rounding of halves decides which is the maximum, and the gradient of the whole pair goes through that one. Adding a
 * product's terms in another order is enough: sums perturbed by 1e-7 of themselves make the goldens' B2G8 case jump in one
 * run of three, whatever the kernel.
 */
import { HALF_BOUNDS } from './measures.js';
import type { ParityCheck } from './report.js';

const HEAD = 'gradient colbert_linear';

/**
 * The checks with the wider bounds of a jump for the gradients of at most one section: one that would fail, and whose
 * ColBERT head is off most, as it is where a jump is the cause. What is wrong in a kernel is wrong in every section.
 */
export function allowOneJump(checks: readonly ParityCheck[]): ParityCheck[] {
  const isGradient = ({ name }: ParityCheck) => name.startsWith('gradient ');
  const failing = new Set(
    checks.filter((check) => isGradient(check) && !check.ok).map(({ section }) => section),
  );
  const jumped = [...failing].filter((section) => {
    const gradients = checks.filter((check) => check.section === section && isGradient(check));
    const worst = (head: boolean) =>
      Math.max(
        ...gradients.filter(({ name }) => name.startsWith(HEAD) === head).map(({ measured }) => measured),
      );
    return (
      worst(true) >= worst(false) &&
      worst(true) <= HALF_BOUNDS.jumpColbert &&
      worst(false) <= HALF_BOUNDS.jump
    );
  });
  if (failing.size !== 1 || jumped.length !== 1) return [...checks];
  return checks.map((check) => {
    if (check.section !== jumped[0] || !isGradient(check)) return check;
    const bound = check.name.startsWith(HEAD) ? HALF_BOUNDS.jumpColbert : HALF_BOUNDS.jump;
    return { ...check, bound, ok: check.measured <= bound };
  });
}
