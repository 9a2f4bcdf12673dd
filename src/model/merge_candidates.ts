/** The ways of merging that were tried, with what each of them keeps. */
import type { Model } from "../graph/types.ts";
import {
  type AdapterChanges,
  type Candidate,
  isKept,
  type MatrixReport,
  type Measurements,
  type MergeMethod,
  MIN_GAIN_KEPT,
} from "../lora/merge/mod.ts";
import type { Runner } from "../runtime/runner.ts";
import { measureWritten } from "./measure_merge.ts";
import type { MergeProgress } from "./merge_progress.ts";
import type { MergeRequest } from "./merge_request.ts";
import type { WrittenMerge } from "./write_merged.ts";

/** What of the models that a merge is compared with is known. */
export type References = Pick<Measurements, "base" | "adapter">;

/** What all ways have in common. */
export interface MergeContext {
  readonly runner: Runner;
  readonly request: MergeRequest;
  readonly changes: AdapterChanges;
  /** The base with its adapters, where there is data. */
  readonly adapted: Model | undefined;
  readonly references: References;
  readonly progress: MergeProgress;
}

/** One candidate a method; folders that are not committed are removed in the end. */
export class MergeCandidates implements Disposable {
  readonly #context: MergeContext;
  readonly #found = new Map<MergeMethod, Candidate>();
  readonly #written = new Map<MergeMethod, WrittenMerge>();
  readonly #folders = new DisposableStack();

  constructor(context: MergeContext) {
    this.#context = context;
  }

  /** In the order they were measured. */
  get all(): readonly Candidate[] {
    return [...this.#found.values()];
  }

  get(method: MergeMethod): Candidate | undefined {
    return this.#found.get(method);
  }

  /** What was written by a method, measured or not. */
  written(method: MergeMethod): WrittenMerge | undefined {
    return this.#written.get(method);
  }

  /** Keeps a folder until the end. */
  keep(written: WrittenMerge): WrittenMerge {
    this.#folders.use(written.directory);
    return written;
  }

  /** Keeps what other ways may go on from. */
  add(written: WrittenMerge): void {
    this.#written.set(written.method, this.keep(written));
  }

  /** Measures what was written; of a method's candidates the one of the lowest loss stays. */
  async measure(written: WrittenMerge): Promise<Candidate> {
    const { runner, request, progress } = this.#context;
    const { method } = written;
    const found = await measureWritten(runner, request, written, progress);
    const old = this.#found.get(method);
    if (old === undefined || lossOf(found) < lossOf(old)) {
      this.#found.set(method, found);
      this.#written.set(method, written);
    }
    return found;
  }

  /** Gives a candidate other reports of its matrices. */
  describe(method: MergeMethod, matrices: readonly MatrixReport[]): void {
    const [found, written] = [this.#found.get(method), this.#written.get(method)];
    if (found !== undefined) this.#found.set(method, { ...found, matrices });
    if (written !== undefined) this.#written.set(method, { ...written, matrices });
  }

  /** Whether one keeps what is aimed at. */
  get areEnough(): boolean {
    return this.all.some((candidate) => this.isEnough(candidate));
  }

  isEnough(candidate: Candidate): boolean {
    const { references, request } = this.#context;
    return isKept(references, candidate, request.minGainKept ?? MIN_GAIN_KEPT);
  }

  [Symbol.dispose](): void {
    this.#folders[Symbol.dispose]();
  }
}

/** Loss on the held-out data; infinite where there is none. */
export const lossOf = ({ evaluated }: Candidate): number => evaluated?.loss ?? Infinity;
