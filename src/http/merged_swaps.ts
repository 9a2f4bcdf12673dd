/** Merges adapters in the background, and lets their names answer merged if that is faster. */
import type { InferenceModel } from "../tasks/inference_model.ts";
import type { AdapterProbe } from "./adapter_probe.ts";
import type { AdapterTable, Entry } from "./adapter_table.ts";
import type { BackgroundMerges } from "./background_merges.ts";
import { compareWays, type WayTimes } from "./compare_ways.ts";
import { HeldModel } from "./held_model.ts";
import type { AdapterMerge, AdapterSource, NamedAdapter } from "./named_adapter.ts";

export interface MergedSwapsOptions {
  readonly base: InferenceModel;
  readonly table: AdapterTable;
  readonly probe: AdapterProbe;
  readonly merges: BackgroundMerges;
  /** Most merged models at a time, each in its own memory. */
  readonly most: number;
  /** Whether requests are in work that comparing both ways should not slow down. */
  readonly isBusy: () => boolean;
  /** Makes changes one after another. */
  readonly inTurn: (change: () => void) => Promise<void>;
  /** Told what the operator should know. */
  readonly onNote: (line: string) => void;
}

/** A merge that goes on. */
interface Running {
  readonly entry: Entry;
  readonly source: AdapterSource;
  readonly ended: AbortController;
}

type Made = Pick<NamedAdapter, "merged" | "gainKept" | "times">;

export class MergedSwaps {
  readonly #options: MergedSwapsOptions;
  readonly #running = new Map<Entry, Running>();

  constructor(options: MergedSwapsOptions) {
    this.#options = options;
  }

  /** Begins a merge of what an entry is to stand for. */
  begin(entry: Entry, source: AdapterSource): void {
    const { table, onNote } = this.#options;
    const merge: Running = { entry, source, ended: new AbortController() };
    this.#running.set(entry, merge);
    entry.merge = { path: source.path, state: "running" };
    table.until(
      this.#merged(merge).catch((error) => {
        if (merge.ended.signal.aborted) return;
        const message = error instanceof Error ? error.message : String(error);
        this.#ended(merge, { state: "failed", error: message });
        onNote(`${entry.name} is not merged: ${message}`);
      }),
    );
  }

  /** Ends the merge of an entry, if there is one. */
  end(entry: Entry): void {
    this.#running.get(entry)?.ended.abort();
    this.#running.delete(entry);
  }

  /** Merges, tries, compares and swaps. */
  async #merged(merge: Running): Promise<void> {
    const { source: { path, matrices }, ended: { signal } } = merge;
    const { base, probe, merges, isBusy, inTurn } = this.#options;
    const { model, path: folder, gainKept } = await merges.merged(path, signal);
    const close = () => {
      model[Symbol.dispose]();
      merges.release(folder);
    };
    try {
      await probe.tryMerged(model);
      const times = matrices && await compareWays(base, matrices, model, signal, isBusy);
      await inTurn(() => {
        signal.throwIfAborted();
        this.#choose(merge, { merged: new HeldModel(model, close), gainKept, times });
      });
    } catch (error) {
      close();
      throw error;
    }
  }

  /** Swaps a merged model in if it is worth its memory. */
  #choose(merge: Running, made: Made): void {
    const { entry, source } = merge;
    const { table, onNote } = this.#options;
    const isWorth = source.way !== "auto" || made.times === undefined || isFaster(made.times);
    if (isWorth && this.#makeRoom(entry)) {
      table.use(entry, source, made);
      this.#ended(merge, { state: "done" });
      onNote(`${entry.name} answers merged${figuresText(made)}`);
      return;
    }
    table.retire(made.merged);
    if (entry.current !== undefined) entry.current = { ...entry.current, times: made.times };
    this.#ended(merge, { state: "declined" });
    onNote(`${entry.name} stays bound${figuresText(made)}`);
  }

  /**
   * Lets others answer bound again, the oldest first, so that there is room for one more merged model.
   *
   * @returns whether there is
   */
  #makeRoom(entry: Entry): boolean {
    const { table, most } = this.#options;
    const others = table.list()
      .filter((other) => other !== entry && other.current?.merged !== undefined)
      .sort((a, b) => a.current!.generation - b.current!.generation);
    const tooMany = others.length + 1 - most;
    if (tooMany <= 0) return true;
    const bindable = others.filter(({ current }) => current!.source.matrices !== undefined);
    if (bindable.length < tooMany) return false;
    for (const other of bindable.slice(0, tooMany)) {
      const { source, times } = other.current!;
      table.use(other, source, { times });
    }
    return true;
  }

  #ended({ entry, source: { path } }: Running, how: Omit<AdapterMerge, "path">): void {
    entry.merge = { path, ...how };
    entry.pending = undefined;
    this.#running.delete(entry);
  }
}

/** Whether merging saves more than noise; a merged model takes the base's memory again. */
function isFaster({ bound, merged }: WayTimes): boolean {
  return merged < 0.97 * bound;
}

function figuresText({ times, gainKept }: Made): string {
  const figures = [
    ...(times === undefined
      ? []
      : [`${times.bound.toFixed(2)} ms a token bound, ${times.merged.toFixed(2)} merged`]),
    ...(gainKept === undefined ? [] : [`${(100 * gainKept).toFixed(1)}% of its gain is kept`]),
  ];
  return figures.length === 0 ? "" : `: ${figures.join(", ")}`;
}
