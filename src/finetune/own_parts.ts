/** Parts of a run that its caller brings: what is measured is a training like any other. */
import type { Model } from "../graph/types.ts";
import type { Runner } from "../runtime/runner.ts";
import type { LoadedData } from "./data_and_adapter.ts";

/** What replaces parts that a configuration would choose. */
export interface OwnParts {
  /** Runs everything; it stays the caller's. */
  readonly runner?: Runner;
  /** Brings the data. */
  readonly loadData?: (model: Model) => LoadedData;
  /** Parts of a batch that are computed beside each other, instead of as many as usual. */
  readonly shards?: number;
  /** Whether padding is left out of what treats tokens one by one; default true. */
  readonly packing?: boolean;
  /** Whether what sequences begin with is computed once; default true. */
  readonly sharesPrefixes?: boolean;
}
