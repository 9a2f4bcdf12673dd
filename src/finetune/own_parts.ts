/** Parts of a run that its caller supplies: what is measured is then a training run like any other. */
import type { Model } from "../graph/types.ts";
import type { Runner } from "../runtime/runner.ts";
import type { Peers } from "../train/peers.ts";
import type { LoadedData } from "./data_and_adapter.ts";

/** Replacements for parts that a configuration would choose. */
export interface OwnParts {
  /** Runs everything; the caller owns it. */
  readonly runner?: Runner;
  /** Other processes, each of which takes its own rows of every batch. */
  readonly peers?: Peers;
  /** Loads the data. */
  readonly loadData?: (model: Model) => LoadedData;
  /** Parts of a batch that are computed at the same time, instead of as many as usual. */
  readonly shards?: number;
  /** Whether padding is left out of what treats tokens one by one; default true. */
  readonly packing?: boolean;
  /** Whether shared prefixes of sequences are computed once; default true. */
  readonly sharesPrefixes?: boolean;
}
