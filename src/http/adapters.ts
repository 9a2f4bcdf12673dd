/**
 * The adapters that requests may name, over one base. A change is a whole one: an adapter is read, held
 * against the base and tried before requests can see it, and those in work go on with what they began
 * with.
 */
import { BadInputError } from "../errors.ts";
import type { AdapterMatrices } from "../serve/adapter_inputs.ts";
import type { InferenceModel, RequestAdapter } from "../tasks/inference_model.ts";
import { invalidAdapter } from "./adapter_errors.ts";
import { type AdapterFolder, listAdapterFolders, pathInside } from "./adapter_folders.ts";
import { AdapterMixes, type AdapterScale } from "./adapter_mixes.ts";
import { AdapterProbe } from "./adapter_probe.ts";
import { AdapterTable, type Entry, type Expected } from "./adapter_table.ts";
import { ApiError } from "./api_error.ts";
import type { BackgroundMerges } from "./background_merges.ts";
import { MergedSwaps } from "./merged_swaps.ts";
import type { AdapterEntry, AdapterSource, AdapterWay, NamedAdapter } from "./named_adapter.ts";

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
export interface LoadOptions extends Expected {
  /** Default that of the server. */
  readonly way?: AdapterWay;
}

export class Adapters {
  readonly #model: InferenceModel;
  readonly #options: AdaptersOptions;
  readonly #probe: AdapterProbe;
  readonly #mixes: AdapterMixes;
  readonly #table: AdapterTable;
  /** Absent if adapters are never merged. */
  readonly #swaps: MergedSwaps | undefined;
  /** One change at a time. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(model: InferenceModel, options: AdaptersOptions) {
    const { most, merges, mostMerged = 1, isBusy = () => false, onNote = () => {} } = options;
    this.#model = model;
    this.#options = options;
    const probe = this.#probe = new AdapterProbe(model);
    const find = (id: number) => this.entries().find((entry) => entry.id === id);
    this.#mixes = new AdapterMixes(model, find);
    const table = this.#table = new AdapterTable(most, this.#mixes);
    this.#swaps = merges && new MergedSwaps({
      ...{ base: model, table, probe, merges, most: mostMerged, isBusy, onNote },
      inTurn: (change) => this.#inTurn(change),
    });
  }

  /** Name of the base in requests. */
  get base(): string {
    return this.#options.base;
  }

  /** Whether requests may load adapters. */
  get loadsByRequest(): boolean {
    return this.#options.folder !== undefined;
  }

  /** Whether adapters can be merged. */
  get merges(): boolean {
    return this.#swaps !== undefined;
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
    return this.#table.list();
  }

  get(name: string): NamedAdapter | undefined {
    return this.#table.get(name)?.current;
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
      this.#table.check(name, options);
      const { rank, matrices, isMergeable } = await this.#read(name, path, way);
      if (matrices !== undefined) await this.#probe.tryBound(matrices);
      return this.#begin(this.#table.entryFor(name), { path, rank, matrices, way, isMergeable });
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
      const entry = this.#table.known(name);
      this.#table.check(name, { inPlace: true, expectedGeneration });
      if (entry.previous !== undefined) return this.#begin(entry, entry.previous);
      throw new ApiError(409, `${name} has not been replaced: there is nothing to go back to`, {
        param: "lora_name",
        code: "no_previous_lora_adapter",
      });
    });
  }

  /**
   * Forgets an adapter; requests in work keep it.
   *
   * @throws {ApiError} 404 for a name that is not known, 409 if another change came first
   */
  unload(name: string, { expectedGeneration }: LoadOptions = {}): Promise<void> {
    return this.#inTurn(() => {
      const entry = this.#table.known(name);
      this.#table.check(name, { inPlace: true, expectedGeneration });
      this.#swaps?.end(entry);
      this.#table.remove(entry);
    });
  }

  /**
   * Sets what requests for the base get, where they do not say: a mix of adapters.
   *
   * @throws {ApiError} 404 for an id that is not known, 400 for an adapter that is only merged
   */
  setUsual(parts: readonly AdapterScale[]): Promise<void> {
    return this.#inTurn(() => {
      this.#mixes.setUsual(parts);
      this.#table.changed();
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
      for (const entry of this.#table.list()) {
        this.#swaps?.end(entry);
        this.#table.remove(entry);
      }
    });
    await this.#options.merges?.close();
    await this.#table.ended();
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
    const others = this.#table.list().filter((other) =>
      other.name !== name &&
      (other.pending ?? other.current?.source)?.matrices === undefined
    );
    if (others.length < mostMerged) return read;
    throw new ApiError(400, `${mostMerged} adapters are merged: unload one`, {
      code: "lora_adapter_limit_exceeded",
    });
  }

  /** Makes an adapter what its name stands for: at once if it can be bound, otherwise when it is merged. */
  #begin(entry: Entry, source: AdapterSource): AdapterEntry {
    this.#swaps?.end(entry);
    entry.merge = undefined;
    entry.pending = source.matrices === undefined ? source : undefined;
    if (source.matrices !== undefined) this.#table.use(entry, source);
    if (source.way !== "bound" && source.isMergeable) this.#swaps?.begin(entry, source);
    return { ...entry };
  }

  #inTurn<T>(change: () => Promise<T> | T): Promise<T> {
    const done = this.#turn.then(change);
    this.#turn = done.catch(() => {});
    return done;
  }
}
