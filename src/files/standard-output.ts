/** Standard output that waits for who reads it, so that what is written does not pile up in memory. */

/** Returns when more may come; also when nobody reads any more, which whoever writes is told by the stream. */
export async function writeStandardOutput(text: string): Promise<void> {
  if (process.stdout.write(text)) return;
  await new Promise<void>((resolve) => {
    const go = () => {
      process.stdout.off('drain', go).off('error', go).off('close', go);
      resolve();
    };
    process.stdout.on('drain', go).on('error', go).on('close', go);
  });
}
