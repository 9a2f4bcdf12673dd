/**
 * The adapters that requests may name, over one base. A change is a whole one: an adapter is read, held
 * against the base and tried before requests can see it, and those in work go on with what they began
 * with.
 */
import { BadInputError } from "../errors.ts";
import type { AdapterMatrices } from "../serve/adapter_inputs.ts";
import { unixSeconds } from "../system/unix_time.ts";
import type { InferenceModel } from "../tasks/inference_model.ts";
import { type AdapterFolder, listAdapterFolders, pathInside } from "./adapter_folders.ts";
import { ApiError } from "./api_error.ts";

/** An adapter under a name. */
export interface NamedAdapter {
  readonly name: string;
  /** Its number in `/lora-adapters`, in the order of loading. */
  readonly id: number;
  /** As it was given. */
  readonly path: string;
  readonly matrices: AdapterMatrices;
  readonly rank: number;
  /** Number of the change that brought it. */
  readonly generation: number;
  /** Seconds since 1970. */
  readonly created: number;
  /** What the name stood for before, which {@linkcode Adapters.rollBack} brings back. */
  readonly previous?: NamedAdapter;
}

export interface AdaptersOptions {
  /** Name of the base in requests. */
  readonly base: string;
  /** Largest rank of an adapter. */
  readonly maxRank: number;
  /** Folder that requests may load adapters from; absent: they may not. */
  readonly folder?: string;
  /** Most adapters at a time. */
  readonly most: number;
}

/** How an adapter is loaded. */
export interface LoadOptions {
  /** Whether an adapter of the name is replaced; default false. */
  readonly inPlace?: boolean;
  /** The generation that the name must have: 0 for none. */
  readonly expectedGeneration?: number;
}

/** A part of a mix. */
export interface AdapterScale {
  readonly id: number;
  readonly scale: number;
}

/** Mixes that are kept, so that requests with the same one share runs. */
const MOST_MIXES = 16;

/** The probe's text: any will do. */
const PROBE = "The adapter is tried.";

export class Adapters {
  readonly #model: InferenceModel;
  readonly #options: AdaptersOptions;
  readonly #byName = new Map<string, NamedAdapter>();
  readonly #mixes = new Map<string, AdapterMatrices>();
  /** What requests for the base get, where they do not say. */
  #usual: readonly AdapterScale[] = [];
  #baseProbed: Promise<number> | undefined;
  #generation = 0;
  #lastId = -1;
  /** One change at a time. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(model: InferenceModel, options: AdaptersOptions) {
    this.#model = model;
    this.#options = options;
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

  /** In the order of loading. */
  list(): readonly NamedAdapter[] {
    return [...this.#byName.values()].sort((a, b) => a.id - b.id);
  }

  get(name: string): NamedAdapter | undefined {
    return this.#byName.get(name);
  }

  /** Number of changes so far. */
  get generation(): number {
    return this.#generation;
  }

  /** Scale of an adapter in what requests for the base get. */
  usualScale(id: number): number {
    return this.#usual.find((part) => part.id === id)?.scale ?? 0;
  }

  /**
   * Loads an adapter from a request's path.
   *
   * @throws {ApiError} 403 if that is not enabled, 400 for a path out of the folder or an adapter that
   *   does not fit, 409 if the name is taken or another change came first
   */
  async loadFrom(name: string, path: string, options: LoadOptions = {}): Promise<NamedAdapter> {
    return await this.load(name, this.#inFolder(path), options);
  }

  /**
   * Loads an adapter.
   *
   * @throws {ApiError} as {@linkcode loadFrom}
   */
  load(name: string, path: string, options: LoadOptions = {}): Promise<NamedAdapter> {
    return this.#inTurn(async () => {
      const before = this.#checkChange(name, options);
      const loaded = await this.#model.loadAdapter(path).catch((error) => {
        throw error instanceof BadInputError ? invalid(error.message) : error;
      });
      if (loaded.rank > this.#options.maxRank) {
        throw new ApiError(
          400,
          `${name} has rank ${loaded.rank}: this server takes at most ${this.#options.maxRank}`,
          { param: "lora_path", code: "lora_rank_limit_exceeded" },
        );
      }
      await this.#probe(loaded.matrices);
      const adapter: NamedAdapter = {
        name,
        path,
        ...loaded,
        id: before?.id ?? ++this.#lastId,
        generation: ++this.#generation,
        created: unixSeconds(),
        previous: withoutPrevious(before),
      };
      return this.#put(adapter);
    });
  }

  /**
   * Brings back what a name stood for before its adapter was replaced, as it was read then; what it
   * stands for now becomes the previous one.
   *
   * @throws {ApiError} 404 for a name that is not known, 409 if nothing was replaced or another change
   *   came first
   */
  rollBack(name: string, { expectedGeneration }: LoadOptions = {}): Promise<NamedAdapter> {
    return this.#inTurn(() => {
      const adapter = this.#byName.get(name);
      if (adapter === undefined) throw notFound(name);
      this.#checkChange(name, { inPlace: true, expectedGeneration });
      if (adapter.previous === undefined) {
        throw new ApiError(409, `${name} has not been replaced: there is nothing to go back to`, {
          param: "lora_name",
          code: "no_previous_lora_adapter",
        });
      }
      return Promise.resolve(this.#put({
        ...adapter.previous,
        generation: ++this.#generation,
        previous: withoutPrevious(adapter),
      }));
    });
  }

  /** Makes requests see an adapter. */
  #put(adapter: NamedAdapter): NamedAdapter {
    this.#byName.set(adapter.name, adapter);
    this.#mixes.clear();
    return adapter;
  }

  /**
   * Forgets an adapter; requests in work keep it.
   *
   * @throws {ApiError} 404 for a name that is not known, 409 if another change came first
   */
  unload(name: string, { expectedGeneration }: LoadOptions = {}): Promise<void> {
    return this.#inTurn(() => {
      const adapter = this.#byName.get(name);
      if (adapter === undefined) throw notFound(name);
      this.#checkChange(name, { inPlace: true, expectedGeneration });
      this.#byName.delete(name);
      this.#usual = this.#usual.filter(({ id }) => id !== adapter.id);
      this.#mixes.clear();
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
      for (const { id } of parts) this.#byId(id);
      this.#usual = parts.filter(({ scale }) => scale !== 0);
      this.#generation++;
      return Promise.resolve();
    });
  }

  /**
   * The matrices of a mix.
   *
   * @param parts absent: those of {@linkcode setUsual}
   * @returns `undefined` for the base
   * @throws {ApiError} 404 for an id that is not known
   */
  mix(parts: readonly AdapterScale[] = this.#usual): AdapterMatrices | undefined {
    const used = parts.filter(({ scale }) => scale !== 0);
    if (used.length === 0) return undefined;
    const adapters = used.map(({ id }) => this.#byId(id));
    if (used.length === 1 && used[0].scale === 1) return adapters[0].matrices;
    const key = JSON.stringify(used.map(({ id, scale }) => [id, scale]));
    const mixed = this.#mixes.get(key) ??
      this.#model.mixAdapters(
        used.map(({ scale }, i) => ({ adapter: adapters[i].matrices, scale })),
      );
    this.#mixes.delete(key);
    this.#mixes.set(key, mixed);
    if (this.#mixes.size > MOST_MIXES) this.#mixes.delete(this.#mixes.keys().next().value!);
    return mixed;
  }

  #byId(id: number): NamedAdapter {
    const found = this.list().find((adapter) => adapter.id === id);
    if (found === undefined) throw notFound(`number ${id}`);
    return found;
  }

  #inFolder(path: string): string {
    const { folder } = this.#options;
    if (folder === undefined) {
      throw new ApiError(
        403,
        "This server loads no adapters by request",
        {
          code: "lora_loading_disabled",
        },
      );
    }
    return pathInside(folder, path);
  }

  /** The adapter of a name before a change. */
  #checkChange(
    name: string,
    { inPlace, expectedGeneration }: LoadOptions,
  ): NamedAdapter | undefined {
    const before = this.#byName.get(name);
    const generation = before?.generation ?? 0;
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
        {
          param: "lora_name",
          code: "lora_adapter_exists",
        },
      );
    }
    if (before === undefined && this.#byName.size >= this.#options.most) {
      throw new ApiError(400, `${this.#options.most} adapters are loaded: unload one`, {
        code: "lora_adapter_limit_exceeded",
      });
    }
    return before;
  }

  /** @throws {ApiError} for an adapter whose answers are not numbers, or the base's own */
  async #probe(matrices: AdapterMatrices): Promise<void> {
    const [adapted, base] = await Promise.all([
      this.#probed(matrices),
      this.#baseProbed ??= this.#probed(),
    ]);
    if (!Number.isFinite(adapted)) throw invalid("its answers are not numbers");
    if (adapted === base) throw invalid("it does not change what the base answers");
  }

  /** The log-probability of what the probe is answered with. */
  async #probed(adapter?: AdapterMatrices): Promise<number> {
    const options = { maxTokens: 1, topLogprobs: 0, adapter };
    const { scores } = await this.#model.complete(PROBE, options);
    return scores?.[0]?.logprob ?? 0;
  }

  #inTurn<T>(change: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(change);
    this.#turn = done.catch(() => {});
    return done;
  }
}

/** One step back is kept, not all. */
const withoutPrevious = (adapter: NamedAdapter | undefined): NamedAdapter | undefined =>
  adapter && { ...adapter, previous: undefined };

function invalid(why: string): ApiError {
  return new ApiError(400, `The adapter cannot be used: ${why}`, {
    param: "lora_path",
    code: "invalid_lora_adapter",
  });
}

function notFound(name: string): ApiError {
  return new ApiError(404, `There is no adapter ${name}`, {
    param: "lora_name",
    code: "lora_adapter_not_found",
  });
}
