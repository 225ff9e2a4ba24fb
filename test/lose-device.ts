/**
 * Imported before a program: its devices are lost when it gets SIGUSR2, as when a driver gives up. With LOST_FOR_GOOD in the
 * environment there are none after that.
 */
import { MachineError } from '../src/errors.js';
import { Gpu } from '../src/gpu/gpu.js';

const open = Gpu.open;
const opened = new Set<Gpu>();
let gone = false;
Gpu.open = async (options) => {
  if (gone) throw new MachineError('no adapter is there any more');
  const gpu = await open.call(Gpu, options);
  opened.add(gpu);
  return gpu;
};
process.on('SIGUSR2', () => {
  for (const { device } of opened) device.destroy();
  opened.clear();
  gone = process.env['LOST_FOR_GOOD'] !== undefined;
});
