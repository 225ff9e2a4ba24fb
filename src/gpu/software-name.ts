/** Names of adapters that compute on the CPU. Loads nothing. */

/** Whether the adapter of this name (raw, or as WebGPU writes it) computes on the CPU, where nothing else tells. */
export function isSoftwareName(name: string): boolean {
  return /llvmpipe|lavapipe|swiftshader|microsoft.basic.render/i.test(name);
}

/** The software adapter whose products take dozens of times as long as lavapipe's. */
export const isSwiftShader = (name: string): boolean => /swiftshader/i.test(name);
