/**
 * Releases of Debian by what their Mesa can do here. Set-up takes another Mesa there, and doctor proposes none of theirs.
 */

/** By codename: releases whose own Mesa is too old for Dawn, and whose backports have a newer one. 12 has 22.3.6. */
const OLD_MESA: ReadonlySet<string> = new Set(['bookworm']);

/**
 * The suite that Mesa has to come from where the release's own is too old for Dawn, e.g. `bookworm-backports`; else
 * undefined. Both are of /etc/os-release: `ID`, and `VERSION_CODENAME`.
 */
export const backportsWithMesa = (id: string | undefined, codename: string | null): string | undefined =>
  id === 'debian' && codename !== null && OLD_MESA.has(codename) ? `${codename}-backports` : undefined;
