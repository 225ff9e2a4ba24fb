/** Imported before a program: its devices are lost when it gets SIGUSR2, as when a driver gives up. */
import { Gpu } from '../src/gpu/gpu.js';

const open = Gpu.open;
const opened = new Set<Gpu>();
Gpu.open = async (options) => {
  const gpu = await open.call(Gpu, options);
  opened.add(gpu);
  return gpu;
};
process.on('SIGUSR2', () => {
  for (const { device } of opened) device.destroy();
  opened.clear();
});
