/** Whether Dawn's library loads here. Runs in a child, since one that does not fit the system may end the process. */

/** @throws what the dynamic linker says. */
export async function loadDawn(): Promise<boolean> {
  const { create } = await import('webgpu');
  return typeof create === 'function';
}
