/**
 * The device of a plan: the parts of GPUDevice that Gpu uses, which neither compute nor hold anything, so that no
 * adapter is needed. What memory a run takes is the pool's to tell, and its decisions do not depend on the device.
 */
import type { Capabilities } from './capabilities.js';

export function planDevice(capabilities: Capabilities): GPUDevice {
  const nothing = () => undefined;
  const buffer = { destroy: nothing };
  const texture = { createView: () => ({}), destroy: nothing };
  const encoder = {
    copyBufferToBuffer: nothing,
    copyBufferToTexture: nothing,
    clearBuffer: nothing,
    finish: () => ({}),
  };
  let lose: (info: { reason: string; message: string }) => void = nothing;
  const lost = new Promise((resolve) => {
    lose = resolve;
  });
  const device = {
    limits: { maxTextureDimension2D: capabilities.maxTextureSize },
    queue: { submit: nothing, onSubmittedWorkDone: () => Promise.resolve() },
    lost,
    createBuffer: () => buffer,
    createTexture: () => texture,
    createCommandEncoder: () => encoder,
    destroy: () => lose({ reason: 'destroyed', message: '' }),
  };
  return device as unknown as GPUDevice;
}
