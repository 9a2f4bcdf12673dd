/**
 * The adapters that requests may name, over one base. A change is a whole one: an adapter is read, held
 * against the base and tried before requests can see it, and those in work go on with what they began
 * with.
 */
import { BadInputError } from "../errors.ts";
import type { AdapterMatrices } from "../serve/adapter_inputs.ts";
import { unixSeconds } from "../system/unix_time.ts";
import type { InferenceModel, RequestAdapter } from "../tasks/inference_model.ts";
import { adapterNotFound, invalidAdapter } from "./adapter_errors.ts";
import { AdapterMixes, type AdapterScale } from "./adapter_mixes.ts";
import { type AdapterFolder, listAdapterFolders, pathInside } from "./adapter_folders.ts";
import { AdapterProbe } from "./adapter_probe.ts";
import { ApiError } from "./api_error.ts";
import type { BackgroundMerges } from "./background_merges.ts";
import { compareWays, type WayTimes } from "./compare_ways.ts";
import { HeldModel } from "./held_model.ts";
import type {
  AdapterEntry,
  AdapterMerge,
  AdapterSource,
  AdapterWay,
  NamedAdapter,
} from "./named_adapter.ts";

export interface AdaptersOptions {
  /** Name of the base in requests. */
  readonly base: string;
  /** Largest rank of an adapter. */
  readonly maxRank: number;
  /** Folder that requests may load adapters from; absent: they may not. */
  readonly folder?: string;
  /** Most adapters at a time. */
  readonly most: number;
  /** How they answer where a change does not say; default `bound`. */
  readonly way?: AdapterWay;
  /** Makes merged models; absent: adapters are never merged. */
  readonly merges?: BackgroundMerges;
  /** Most merged models at a time, each in its own memory; default 1. */
  readonly mostMerged?: number;
  /** Whether requests are in work that comparing both ways should not slow down; default never. */
  readonly isBusy?: () => boolean;
  /** Told what the operator should know. */
  readonly onNote?: (line: string) => void;
}

/** How an adapter is loaded. */
export interface LoadOptions {
  /** Whether an adapter of the name is replaced; default false. */
  readonly inPlace?: boolean;
  /** The generation that the name must have: 0 for none. */
  readonly expectedGeneration?: number;
  /** Default that of the server. */
  readonly way?: AdapterWay;
}

/** A merge that goes on. */
interface RunningMerge {
  readonly entry: Entry;
  readonly adapter: AdapterSource;
  readonly ended: AbortController;
}

type Entry = { -readonly [K in keyof AdapterEntry]: AdapterEntry[K] } & { running?: RunningMerge };

export class Adapters {
  readonly #model: InferenceModel;
  readonly #options: AdaptersOptions;
  readonly #probe: AdapterProbe;
  readonly #mixes: AdapterMixes;
  readonly #entries = new Map<string, Entry>();
  #generation = 0;
  #lastId = -1;
  /** One change at a time. */
  #turn: Promise<unknown> = Promise.resolve();
  /** Merges that go on, and merged models that wait for their requests. */
  readonly #ending = new Set<Promise<void>>();

  constructor(model: InferenceModel, options: AdaptersOptions) {
    this.#model = model;
    this.#options = options;
    this.#probe = new AdapterProbe(model);
    this.#mixes = new AdapterMixes(model, (id) => this.#withId(id));
  }

  /** Name of the base in requests. */
  get base(): string {
    return this.#options.base;
  }

  /** Whether requests may load adapters. */
  get loadsByRequest(): boolean {
    return this.#options.folder !== undefined;
  }

  /** What requests may load. */
  folders(): readonly AdapterFolder[] {
    const { folder } = this.#options;
    return folder === undefined ? [] : listAdapterFolders(folder);
  }

  /** Those that answer requests, in the order of loading. */
  list(): readonly NamedAdapter[] {
    return this.entries().flatMap(({ current }) => current ?? []);
  }

  /** All that are loaded or being merged, in the order of loading. */
  entries(): readonly AdapterEntry[] {
    return [...this.#entries.values()].sort((a, b) => a.id - b.id);
  }

  get(name: string): NamedAdapter | undefined {
    return this.#entries.get(name)?.current;
  }

  /** Number of changes so far. */
  get generation(): number {
    return this.#generation;
  }

  /** Scale of an adapter in what requests for the base get. */
  usualScale(id: number): number {
    return this.#mixes.usualScale(id);
  }

  /**
   * Loads an adapter from a request's path.
   *
   * @throws {ApiError} 403 if that is not enabled, 400 for a path out of the folder or an adapter that
   *   does not fit, 409 if the name is taken or another change came first
   */
  async loadFrom(name: string, path: string, options: LoadOptions = {}): Promise<AdapterEntry> {
    const { folder } = this.#options;
    if (folder !== undefined) return await this.load(name, pathInside(folder, path), options);
    throw new ApiError(403, "This server loads no adapters by request", {
      code: "lora_loading_disabled",
    });
  }

  /**
   * Loads an adapter. If it can only be merged, its name answers, or changes, once the merge is done.
   *
   * @throws {ApiError} as {@linkcode loadFrom}
   */
  load(name: string, path: string, options: LoadOptions = {}): Promise<AdapterEntry> {
    const way = options.way ?? this.#options.way ?? "bound";
    return this.#inTurn(async () => {
      const before = this.#checkChange(name, options);
      const { rank, matrices, isMergeable } = await this.#read(name, path, way);
      if (matrices !== undefined) await this.#probe.tryBound(matrices);
      const entry: Entry = before ?? { name, id: ++this.#lastId };
      this.#entries.set(name, entry);
      return this.#begin(entry, { path, rank, matrices, way, isMergeable });
    });
  }

  /**
   * Brings back what a name stood for before its adapter was replaced, as it was read then; what it
   * stands for now becomes the previous one.
   *
   * @throws {ApiError} 404 for a name that is not known, 409 if nothing was replaced or another change
   *   came first
   */
  rollBack(name: string, { expectedGeneration }: LoadOptions = {}): Promise<AdapterEntry> {
    return this.#inTurn(() => {
      const entry = this.#known(name);
      this.#checkChange(name, { inPlace: true, expectedGeneration });
      if (entry.previous === undefined) {
        throw new ApiError(409, `${name} has not been replaced: there is nothing to go back to`, {
          param: "lora_name",
          code: "no_previous_lora_adapter",
        });
      }
      return Promise.resolve(this.#begin(entry, entry.previous));
    });
  }

  /**
   * Forgets an adapter; requests in work keep it.
   *
   * @throws {ApiError} 404 for a name that is not known, 409 if another change came first
   */
  unload(name: string, { expectedGeneration }: LoadOptions = {}): Promise<void> {
    return this.#inTurn(() => {
      const entry = this.#known(name);
      this.#checkChange(name, { inPlace: true, expectedGeneration });
      this.#entries.delete(name);
      entry.running?.ended.abort();
      this.#retire(entry.current?.merged);
      this.#mixes.forget(entry.id);
      this.#generation++;
      return Promise.resolve();
    });
  }

  /**
   * Sets what requests for the base get, where they do not say: a mix of adapters.
   *
   * @throws {ApiError} 404 for an id that is not known
   */
  setUsual(parts: readonly AdapterScale[]): Promise<void> {
    return this.#inTurn(() => {
      this.#mixes.setUsual(parts);
      this.#generation++;
      return Promise.resolve();
    });
  }

  /**
   * The matrices of a mix.
   *
   * @param parts absent: those of {@linkcode setUsual}
   * @returns `undefined` for the base
   * @throws {ApiError} 404 for an id that is not known, 400 for an adapter that is only merged
   */
  mix(parts?: readonly AdapterScale[]): AdapterMatrices | undefined {
    return this.#mixes.mix(parts);
  }

  /** Ends merges, and resolves when merged models are closed, which waits for their requests. */
  async close(): Promise<void> {
    await this.#inTurn(() => {
      for (const { running, current } of this.#entries.values()) {
        running?.ended.abort();
        this.#retire(current?.merged);
      }
      this.#entries.clear();
      return Promise.resolve();
    });
    await this.#options.merges?.close();
    await Promise.all(this.#ending);
  }

  /** @throws {ApiError} 400 for an adapter that cannot be used in this way */
  async #read(name: string, path: string, way: AdapterWay): Promise<RequestAdapter> {
    const { maxRank, merges, mostMerged = 1 } = this.#options;
    if (way === "merged" && merges === undefined) {
      throw invalidAdapter("this server merges no adapters");
    }
    const read = await this.#model.loadAdapter(path).catch((error) => {
      throw error instanceof BadInputError ? invalidAdapter(error.message) : error;
    });
    if (read.rank > maxRank) {
      throw new ApiError(
        400,
        `${name} has rank ${read.rank}: this server takes at most ${maxRank}`,
        { param: "lora_path", code: "lora_rank_limit_exceeded" },
      );
    }
    if (way === "merged" && !read.isMergeable) throw invalidAdapter("it can only be bound");
    if (read.matrices !== undefined) return read;
    if (merges === undefined || way === "bound" || !read.isMergeable) {
      throw invalidAdapter(read.unboundBecause!);
    }
    const others = [...this.#entries.values()].filter((other) =>
      other.name !== name &&
      (other.pending ?? other.current?.source)?.matrices === undefined
    );
    if (others.length < mostMerged) return read;
    throw new ApiError(400, `${mostMerged} adapters are merged: unload one`, {
      code: "lora_adapter_limit_exceeded",
    });
  }

  /** Makes an adapter what its name stands for: at once if it can be bound, otherwise when it is merged. */
  #begin(entry: Entry, adapter: AdapterSource): AdapterEntry {
    entry.running?.ended.abort();
    entry.running = undefined;
    entry.merge = undefined;
    entry.pending = adapter.matrices === undefined ? adapter : undefined;
    if (adapter.matrices !== undefined) this.#use(entry, adapter);
    const { merges } = this.#options;
    if (merges !== undefined && adapter.way !== "bound" && adapter.isMergeable) {
      this.#merge(entry, adapter);
    }
    return { ...entry };
  }

  /** Lets requests see an adapter. */
  #use(
    entry: Entry,
    adapter: AdapterSource,
    more: Pick<NamedAdapter, "merged" | "gainKept" | "times"> = {},
  ) {
    const { name, id, current: before } = entry;
    const isOther = before !== undefined && before.source !== adapter;
    if (isOther) entry.previous = before.source;
    entry.current = {
      ...{ name, id, source: adapter, ...more },
      generation: ++this.#generation,
      created: unixSeconds(),
    };
    this.#retire(before?.merged);
    // A mix that requests get without asking must go on.
    if (adapter.matrices === undefined) this.#mixes.forget(id);
    this.#mixes.clear();
  }

  #merge(entry: Entry, adapter: AdapterSource): void {
    const merge: RunningMerge = { entry, adapter, ended: new AbortController() };
    entry.running = merge;
    entry.merge = { path: adapter.path, state: "running" };
    this.#untilEnded(
      this.#merged(merge).catch((error) => {
        if (merge.ended.signal.aborted) return;
        const message = error instanceof Error ? error.message : String(error);
        this.#mergeEnded(merge, { state: "failed", error: message });
        this.#options.onNote?.(`${entry.name} is not merged: ${message}`);
      }),
    );
  }

  /** Merges, tries, compares and swaps. */
  async #merged(merge: RunningMerge): Promise<void> {
    const { adapter: { path, matrices }, ended: { signal } } = merge;
    const { merges } = this.#options;
    const { model, path: folder, gainKept } = await merges!.merged(path, signal);
    const close = () => {
      model[Symbol.dispose]();
      merges!.release(folder);
    };
    try {
      await this.#probe.tryMerged(model);
      const { isBusy = () => false } = this.#options;
      const times = matrices && await compareWays(this.#model, matrices, model, signal, isBusy);
      await this.#inTurn(() => {
        signal.throwIfAborted();
        const held = new HeldModel(model, close);
        return Promise.resolve(this.#choose(merge, { merged: held, gainKept, times }));
      });
    } catch (error) {
      close();
      throw error;
    }
  }

  /** Swaps a merged model in if it is worth its memory. */
  #choose(
    merge: RunningMerge,
    made: Pick<NamedAdapter, "merged" | "gainKept" | "times">,
  ): void {
    const { times, gainKept } = made;
    const { entry, adapter } = merge;
    const { onNote } = this.#options;
    const figures = [
      ...(times === undefined ? [] : [timesText(times)]),
      ...(gainKept === undefined ? [] : [`${(100 * gainKept).toFixed(1)}% of its gain is kept`]),
    ];
    const text = figures.length === 0 ? "" : `: ${figures.join(", ")}`;
    const isWorth = adapter.way !== "auto" || times === undefined || isFaster(times);
    if (isWorth && this.#makeRoom(entry)) {
      this.#use(entry, adapter, made);
      this.#mergeEnded(merge, { state: "done" });
      onNote?.(`${entry.name} answers merged${text}`);
      return;
    }
    this.#retire(made.merged);
    if (entry.current !== undefined) entry.current = { ...entry.current, times };
    this.#mergeEnded(merge, { state: "declined" });
    onNote?.(`${entry.name} stays bound${text}`);
  }

  /**
   * Lets others answer bound again, the oldest first, so that there is room for one more merged model.
   *
   * @returns whether there is
   */
  #makeRoom(entry: Entry): boolean {
    const { mostMerged = 1 } = this.#options;
    const others = [...this.#entries.values()]
      .filter(({ name, current }) => name !== entry.name && current?.merged !== undefined)
      .sort((a, b) => a.current!.generation - b.current!.generation);
    const tooMany = others.length + 1 - mostMerged;
    if (tooMany <= 0) return true;
    const bindable = others.filter(({ current }) => current!.source.matrices !== undefined);
    if (bindable.length < tooMany) return false;
    for (const other of bindable.slice(0, tooMany)) {
      const { source, times } = other.current!;
      this.#use(other, source, { times });
    }
    return true;
  }

  #mergeEnded({ entry, adapter: { path } }: RunningMerge, how: Omit<AdapterMerge, "path">): void {
    entry.merge = { path, ...how };
    entry.running = undefined;
    entry.pending = undefined;
  }

  /** Closes a merged model once its requests are answered. */
  #retire(merged: HeldModel | undefined): void {
    if (merged !== undefined) this.#untilEnded(merged.retire());
  }

  #untilEnded(work: Promise<void>): void {
    const ended = work.then(() => void this.#ending.delete(ended));
    this.#ending.add(ended);
  }

  #known(name: string): Entry {
    const entry = this.#entries.get(name);
    if (entry === undefined) throw adapterNotFound(name);
    return entry;
  }

  #withId(id: number): AdapterEntry | undefined {
    return this.entries().find((entry) => entry.id === id);
  }

  /** What a name stands for before a change. */
  #checkChange(name: string, { inPlace, expectedGeneration }: LoadOptions): Entry | undefined {
    const before = this.#entries.get(name);
    const generation = before?.current?.generation ?? 0;
    if (expectedGeneration !== undefined && expectedGeneration !== generation) {
      throw new ApiError(
        409,
        `${name} has generation ${generation}, not ${expectedGeneration}: another change came first`,
        { param: "expected_generation", code: "generation_conflict" },
      );
    }
    if (before !== undefined && inPlace !== true) {
      throw new ApiError(
        409,
        `${name} is loaded already: send "load_inplace": true to replace it`,
        { param: "lora_name", code: "lora_adapter_exists" },
      );
    }
    if (before === undefined && this.#entries.size >= this.#options.most) {
      throw new ApiError(400, `${this.#options.most} adapters are loaded: unload one`, {
        code: "lora_adapter_limit_exceeded",
      });
    }
    return before;
  }

  #inTurn<T>(change: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(change);
    this.#turn = done.catch(() => {});
    return done;
  }
}

/** Whether merging saves more than noise; a merged model takes the base's memory again. */
function isFaster({ bound, merged }: WayTimes): boolean {
  return merged < 0.97 * bound;
}

function timesText({ bound, merged }: WayTimes): string {
  return `${bound.toFixed(2)} ms a token bound, ${merged.toFixed(2)} merged`;
}
