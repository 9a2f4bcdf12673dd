/** The rewrite of a merge: new weights, in the files of a folder like the base's. */
import {
  type AdapterChanges,
  computeMerge,
  type GramSource,
  type MatrixReport,
  type MergeMethod,
  planMerge,
} from "../lora/merge/mod.ts";
import type { Runner } from "../runtime/runner.ts";
import { giveWay } from "./give_way.ts";
import { RuntimeProduct } from "./matrix_product.ts";
import { StagedDirectory } from "./staged_directory.ts";
import { type BaseModel, writeModel } from "./write_model.ts";

/** Most that Gram matrices take, as a share of the model's file. */
const GRAM_SHARE = 1 / 4;

export interface WriteMergedRequest {
  readonly base: BaseModel & { readonly sizeBytes: number };
  /** Folder that the result is to become. */
  readonly savePath: string;
  readonly changes: AdapterChanges;
  readonly method: MergeMethod;
  /** Inputs of the adapted model, which steer `compensated` and `8bit`; needed for the former. */
  readonly grams?: GramSource;
  /** Computes products where there are `grams`. */
  readonly runner: Runner;
  /** Told of each matrix as it is merged. */
  readonly onProgress?: (text: string) => void;
  /** Ends the work between two matrices: its reason is thrown and nothing is left. */
  readonly signal?: AbortSignal;
}

/** A model on disk, in an unfinished folder that the caller commits or disposes of. */
export interface WrittenMerge {
  readonly directory: StagedDirectory;
  readonly matrices: readonly MatrixReport[];
}

/**
 * Computes the matrices of a merge one at a time and writes each where it belongs. No weights are
 * kept, so that without `grams` the work takes less memory than the file; those add their sums, up to
 * a quarter of the file or one matrix, and the session that collects them.
 *
 * @throws {BadInputError} for changes that do not fit the base
 * @throws {RefusedError} where nothing would change
 * @throws {StorageError} naming the path
 */
export async function writeMerged(
  { base, savePath, changes, method, grams, runner, onProgress, signal }: WriteMergedRequest,
): Promise<WrittenMerge> {
  const plan = planMerge(base.model, changes.changes, method, { finish: changes.finish });
  const steered = grams !== undefined && (method === "compensated" || method === "8bit");
  using product = steered ? await RuntimeProduct.open(runner) : undefined;
  const directory = new StagedDirectory(savePath, method);
  try {
    const matrices = await writeModel(
      directory,
      base,
      plan.model,
      (write) =>
        computeMerge(plan, write, {
          ...(product === undefined ? {} : {
            grams,
            gramBytes: GRAM_SHARE * base.sizeBytes,
            multiply: product.multiply,
          }),
          onMatrix: ({ paths }, done, total) => {
            onProgress?.(`Merging (${method}): ${done} of ${total} matrices, ${paths[0]}`);
            return giveWay(signal);
          },
        }),
    );
    return { directory, matrices };
  } catch (error) {
    directory[Symbol.dispose]();
    throw error;
  }
}
