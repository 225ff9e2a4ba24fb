/** Sizes of memory and disks for people, in the process that loads no engine (gpu/memory.ts has the engine's). */

const UNITS: Record<1000 | 1024, readonly string[]> = {
  1000: ['B', 'kB', 'MB', 'GB', 'TB'],
  1024: ['B', 'KiB', 'MiB', 'GiB', 'TiB'],
};

/** `22.9 GB`; `128 MiB` by 1024, in which adapters' limits are whole. */
export function formatSize(bytes: number, base: 1000 | 1024 = 1000): string {
  let size = bytes;
  let unit = 0;
  while (size >= base && unit < UNITS[base].length - 1) {
    size /= base;
    unit++;
  }
  return `${Number(size.toPrecision(3))} ${UNITS[base][unit]}`;
}
