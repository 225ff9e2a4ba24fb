/** Numbers that look random and are the same everywhere: between −0.5 and 0.5, one for each i. */
export function noise(i) {
  const value = Math.sin(12.9898 * (i + 1)) * 43758.5453;
  return value - Math.floor(value) - 0.5;
}
