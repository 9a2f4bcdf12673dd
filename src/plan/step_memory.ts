/**
 * Places the tensors that pass between a step's calls in one slab of memory.
 *
 * Placed by lifetimes, they take little more than what is alive at the fullest moment; a general arena, asked
 * for different sizes with every batch shape, touches page after page.
 */
import { boundDims } from "../graph/bind_graph.ts";
import { byteLength, type DataType } from "../graph/dtype.ts";
import type { BoundSizes } from "../graph/size.ts";
import { elementCount } from "../graph/tensor.ts";
import type { PlannedCall } from "./call.ts";

/** The offset and type of a tensor. */
export interface Placement {
  readonly offset: number;
  readonly bytes: number;
  readonly dtype: DataType;
  readonly dims: readonly number[];
}

export interface StepMemory {
  /** Size of the slab. */
  readonly bytes: number;
  /** By name; each name is produced by one call and freed once. */
  readonly placements: ReadonlyMap<string, Placement>;
}

/** Kernels read whole cache lines, so offsets are multiples of a line. */
const ALIGNMENT = 64;

/**
 * @param release for each call, the tensors that are freed after it; what is never freed, or is shared by
 *   several parts of a batch, is not placed
 */
export function placeTensors(
  calls: readonly PlannedCall[],
  release: readonly (readonly string[])[],
  sizes: BoundSizes,
): StepMemory {
  const freed = new Set(release.flat());
  const placements = new Map<string, Placement>();
  const live = new Live();
  calls.forEach(({ graph, fetches, isShared }, i) => {
    for (const { name, type } of graph.outputs) {
      const tensor = fetches.get(name)!;
      if (!freed.has(tensor) || isShared) continue;
      const { dtype } = type!;
      const dims = boundDims(type!.shape as readonly number[], sizes);
      const bytes = byteLength(dtype, elementCount(dims));
      placements.set(tensor, live.take({ bytes, dtype, dims }));
    }
    for (const name of release[i]) {
      const place = placements.get(name);
      if (place !== undefined) live.free(place);
    }
  });
  return { bytes: live.mostBytes, placements };
}

/** The live tensors, in order of their offsets. */
class Live {
  readonly #placements: Placement[] = [];
  mostBytes = 0;

  /** Puts a tensor into the lowest gap that is large enough. */
  take(tensor: Omit<Placement, "offset">): Placement {
    let offset = 0;
    let index = 0;
    for (; index < this.#placements.length; index++) {
      const next = this.#placements[index];
      if (offset + tensor.bytes <= next.offset) break;
      offset = Math.ceil((next.offset + next.bytes) / ALIGNMENT) * ALIGNMENT;
    }
    const place = { ...tensor, offset };
    this.#placements.splice(index, 0, place);
    this.mostBytes = Math.max(this.mostBytes, offset + tensor.bytes);
    return place;
  }

  free(place: Placement): void {
    this.#placements.splice(this.#placements.indexOf(place), 1);
  }
}
