/** Waiting until the own process stands still: threads that spin after their work would take the next peer's processor. */
import { setTimeout } from 'node:timers/promises';
import { REST } from './protocol.js';

export async function rest(): Promise<void> {
  const latest = performance.now() + 1000 * REST.most;
  for (;;) {
    const used = process.cpuUsage();
    const start = performance.now();
    await setTimeout(1000 * REST.seconds);
    const now = performance.now();
    const { user, system } = process.cpuUsage(used);
    if ((user + system) / 1000 < REST.share * (now - start) || now > latest) return;
  }
}
