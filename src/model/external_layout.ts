/** Places tensors in the data files beside a model that is written anew. */
import { byteLength } from "../graph/dtype.ts";
import { isShapeList } from "../graph/shape_list.ts";
import { elementCount, type Tensor } from "../graph/tensor.ts";
import type { Model } from "../graph/types.ts";
import { encodeModelChunks, type ExternalRef, externalRefOf } from "../onnx/mod.ts";

/** Tensors of fewer bytes that are new to a model lie inside it. */
const INLINE_BELOW = 1024;
/** Tensors from this size on begin on page boundaries, so that they can be mapped. */
const PAGED_BYTES = 1 << 20;
const PAGE = 4096;
/** Where smaller ones begin: a cache line. */
const LINE = 64;

/** Where each tensor that is not inside the model goes. */
export interface ExternalLayout {
  readonly places: ReadonlyMap<Tensor, ExternalRef>;
  /**
   * Whether everything lies exactly where it lay in the base: its data files can be copied and the
   * changed ranges overwritten.
   */
  readonly asInBase: boolean;
}

/** A protobuf message, and so a model without data files, must stay below 2 GiB. */
const LARGEST_MESSAGE = 2 ** 31 - (1 << 24);

/**
 * Lays out the data files of an edited model: same files, tensors in the base's order, and at the
 * very same places where no size changed. A model without data files keeps none, unless it has
 * outgrown what one file can hold.
 *
 * @param base where the model came from; a tensor that takes another's name takes its place
 * @param newFile name of the data file for a model that needs its first
 */
export function layoutLike(base: Model, model: Model, newFile: string): ExternalLayout {
  const items = itemsOf(base, model);
  const total = items.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const first = items.find(({ old }) => old !== undefined)?.old?.location ??
    (total > LARGEST_MESSAGE ? newFile : undefined);
  if (first === undefined) return { places: new Map(), asInBase: false };
  const outside = items.filter((item) =>
    item.old !== undefined || movesOut(item, first === newFile)
  );
  const fits = outside.every(({ old, sizeBytes }) => old?.length === sizeBytes);
  if (fits && !overwritesOthers(outside)) {
    return { places: new Map(outside.map(({ tensor, old }) => [tensor, old!])), asInBase: true };
  }
  return { places: packed(outside, first), asInBase: false };
}

/** Whether a tensor that is new would be written over bytes that another one has as well. */
function overwritesOthers(items: readonly Item[]): boolean {
  const isNew = ({ tensor }: Item) => externalRefOf(tensor) === undefined;
  const files = Map.groupBy(items, ({ old }) => old!.location);
  return [...files.values()].some((inFile) => {
    const byPlace = inFile.toSorted((a, b) => a.old!.offset - b.old!.offset);
    // Furthest ends so far, of all tensors and of new ones.
    let [end, newEnd] = [0, 0];
    for (const item of byPlace) {
      const { offset, length } = item.old!;
      if (length === 0) continue;
      if (offset < (isNew(item) ? end : newEnd)) return true;
      end = Math.max(end, offset + length);
      if (isNew(item)) newEnd = Math.max(newEnd, offset + length);
    }
    return false;
  });
}

function itemsOf(base: Model, model: Model): readonly Item[] {
  const initializers = new Set(model.graph.initializers.values());
  const items = new Map<Tensor, Item>();
  encodeModelChunks(model, {
    // Asked for every tensor, those in attributes and subgraphs included; answers nothing yet.
    external(name, tensor) {
      if (items.has(tensor)) return undefined;
      const before = base.graph.initializers.get(name);
      items.set(tensor, {
        tensor,
        sizeBytes: sizeOf(tensor),
        old: externalRefOf(tensor) ?? (before && externalRefOf(before)),
        isInitializer: initializers.has(tensor),
        replaces: before !== undefined,
      });
      return undefined;
    },
  });
  return [...items.values()];
}

/**
 * Whether a tensor that the base has inside the model, or not at all, goes to a data file: new ones
 * do unless they are small or lists that say sizes, and so do small ones that have grown.
 */
function movesOut({ tensor, sizeBytes, isInitializer, replaces }: Item, all: boolean): boolean {
  return isInitializer && !isShapeList(tensor) &&
    sizeBytes >= (replaces && !all ? PAGED_BYTES : INLINE_BELOW);
}

interface Item {
  readonly tensor: Tensor;
  readonly sizeBytes: number;
  /** Its place in the base, or that of the tensor it replaces. */
  readonly old: ExternalRef | undefined;
  readonly isInitializer: boolean;
  /** Whether the base has an initializer of its name. */
  readonly replaces: boolean;
}

/** From the type and dimensions: contents may not be computed yet. */
function sizeOf(tensor: Tensor): number {
  return tensor.dtype === "string"
    ? tensor.bytes.byteLength
    : byteLength(tensor.dtype, elementCount(tensor.dims));
}

function packed(items: readonly Item[], first: string): ReadonlyMap<Tensor, ExternalRef> {
  const places = new Map<Tensor, ExternalRef>();
  const ends = new Map<string, number>();
  const shared = new Map<string, ExternalRef>();
  const position = ({ old }: Item) => old?.offset ?? Infinity;
  for (const item of items.toSorted((a, b) => position(a) - position(b) || 0)) {
    const { tensor, sizeBytes, old } = item;
    const location = old?.location ?? first;
    // Two unchanged tensors over the same bytes keep sharing them.
    const own = externalRefOf(tensor);
    const key = own && JSON.stringify([own.location, own.offset, own.length]);
    const known = key === undefined ? undefined : shared.get(key);
    if (known !== undefined) {
      places.set(tensor, known);
      continue;
    }
    const step = sizeBytes >= PAGED_BYTES ? PAGE : LINE;
    const offset = Math.ceil((ends.get(location) ?? 0) / step) * step;
    const ref = { location, offset, length: sizeBytes };
    ends.set(location, offset + sizeBytes);
    places.set(tensor, ref);
    if (key !== undefined) shared.set(key, ref);
  }
  return places;
}
