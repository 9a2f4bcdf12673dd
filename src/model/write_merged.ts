/** The rewrite of a merge: new weights, in the files of folders like the base's. */
import type { RefusedError } from "../errors.ts";
import {
  type AdapterChanges,
  additionOf,
  computeMatrices,
  type GramSource,
  type MatrixReport,
  type MergeMethod,
  planMerge,
  refusalOf,
} from "../lora/merge/mod.ts";
import type { Runner } from "../runtime/runner.ts";
import { collectGarbage, giveBackFreed } from "../system/memory.ts";
import { giveWay } from "./give_way.ts";
import { RuntimeProduct } from "./matrix_product.ts";
import { RuntimeScaleProducts } from "./runtime_scale_products.ts";
import { StagedDirectory } from "./staged_directory.ts";
import { type BaseModel, writeModel } from "./write_model.ts";

/** Most that Gram matrices take, as a share of the model's file. */
const GRAM_SHARE = 1 / 5;
/** As for what is worked on at once, of which there are some ten copies. */
const SLAB_SHARE = 1 / 56;
const MAX_SLAB_BYTES = 1 << 20;
/** As for garbage that is left between two ways through the data. */
const GARBAGE_SHARE = 1 / 8;

export interface WriteMergedRequest {
  readonly base: BaseModel & { readonly sizeBytes: number };
  /** Folder that one of the results is to become. */
  readonly savePath: string;
  readonly changes: AdapterChanges;
  readonly method: MergeMethod;
  /** Inputs of the adapted model, for methods that they steer; needed for `compensated` and `fitted`. */
  readonly grams?: GramSource;
  /** Computes products where there are `grams`. */
  readonly runner: Runner;
  /** Told of each matrix as it is merged, and of the share of all that is done. */
  readonly onProgress?: (text: string, share: number) => void;
  /** Ends the work between two matrices: its reason is thrown and nothing is left. */
  readonly signal?: AbortSignal;
}

/** A model on disk, in an unfinished folder that the caller commits or disposes of. */
export interface WrittenMerge {
  readonly method: MergeMethod;
  readonly directory: StagedDirectory;
  readonly matrices: readonly MatrixReport[];
}

/** A method that changes nothing leaves no folder. */
export interface RefusedMerge {
  readonly method: MergeMethod;
  readonly refused: RefusedError;
}

/**
 * Computes the matrices of a merge one at a time and writes each where it belongs. No weights are kept,
 * so that the work takes less memory than the file; `grams` add their sums, up to a fifth of the file or
 * one matrix.
 *
 * @throws {BadInputError} for changes that do not fit the base
 * @throws {StorageError} naming the path
 */
export async function writeMerged(
  { base, savePath, changes, method, grams, runner, onProgress, signal }: WriteMergedRequest,
): Promise<WrittenMerge | RefusedMerge> {
  const plan = planMerge(base.model, changes.changes, method, { finish: additionOf(changes) });
  // Planning has looked at each layer anew: what that left is tens of megabytes.
  collectGarbage();
  using product = grams === undefined ? undefined : await RuntimeProduct.open(runner);
  using scaleProducts = new RuntimeScaleProducts(runner);
  using folders = new DisposableStack();
  const directory = folders.use(new StagedDirectory(savePath, method));
  const matrices = await writeModel(
    directory,
    base,
    plan.model,
    (write) =>
      computeMatrices(plan, write, {
        slabBytes: Math.min(MAX_SLAB_BYTES, SLAB_SHARE * base.sizeBytes),
        ...(product === undefined || grams === undefined ? {} : {
          grams: tidied(grams, base),
          gramBytes: GRAM_SHARE * base.sizeBytes,
          multiply: product.multiply,
          scaleProducts: scaleProducts.compute,
        }),
        onMatrix: ({ paths }, done, total) => {
          const text = `Merging (${method}): ${done} of ${total} matrices, ${paths[0]}`;
          onProgress?.(text, done / total);
          return giveWay(signal);
        },
      }),
  );
  const refused = refusalOf(plan, matrices);
  if (refused !== undefined) return { method, refused };
  folders.move();
  return { method, directory, matrices };
}

/** Clears away what the work on earlier matrices has left, and what collecting itself leaves. */
function tidied(
  grams: GramSource,
  { sizeBytes }: Pick<WriteMergedRequest["base"], "sizeBytes">,
): GramSource {
  const tidy = () => {
    collectGarbage(GARBAGE_SHARE * sizeBytes);
    giveBackFreed();
  };
  return async (...request) => {
    tidy();
    const collected = await grams(...request);
    tidy();
    return collected;
  };
}
