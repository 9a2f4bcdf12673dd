/** The codes of a grid, and the nearest one to a number. */
import type { Scratch } from "./scratch.ts";
import type { CodeGrid, Codes } from "./types.ts";

/** The code of a grid that is nearest to a number; the larger of two equally near ones. */
export function nearestCode(grid: CodeGrid, wanted: number): number {
  if (grid.levels !== undefined) return nearestLevel(grid.levels, wanted);
  const code = Math.round(wanted);
  return code < grid.min ? grid.min : code > grid.max ? grid.max : code;
}

function nearestLevel(levels: Float32Array, wanted: number): number {
  let low = 0;
  let high = levels.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (2 * wanted < levels[middle] + levels[middle + 1]) high = middle;
    else low = middle + 1;
  }
  return levels[low];
}

/** Smallest distance between two codes of a grid. */
export function leastStep({ levels }: CodeGrid): number {
  if (levels === undefined) return 1;
  let least = Infinity;
  for (let i = 1; i < levels.length; i++) least = Math.min(least, levels[i] - levels[i - 1]);
  return least;
}

/** An array of `scratch` for codes of a grid. */
export function codeArray(
  { levels }: CodeGrid,
  scratch: Scratch,
  name: string,
  length: number,
): Codes {
  return levels === undefined ? scratch.int16(name, length) : scratch.float32(name, length);
}
