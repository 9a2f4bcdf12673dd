/** Names of adapters and what they stand for; each change has a generation. */
import { unixSeconds } from "../system/unix_time.ts";
import { adapterNotFound } from "./adapter_errors.ts";
import type { AdapterMixes } from "./adapter_mixes.ts";
import { ApiError } from "./api_error.ts";
import type { HeldModel } from "./held_model.ts";
import type { AdapterEntry, AdapterSource, NamedAdapter } from "./named_adapter.ts";

/** An entry as the table changes it. */
export type Entry = { -readonly [K in keyof AdapterEntry]: AdapterEntry[K] };

/** What a change expects of a name. */
export interface Expected {
  /** Whether the name may stand for an adapter already; default false. */
  readonly inPlace?: boolean;
  /** The generation that the name must have: 0 for none. */
  readonly expectedGeneration?: number;
}

export class AdapterTable {
  readonly #mixes: AdapterMixes;
  readonly #most: number;
  readonly #entries = new Map<string, Entry>();
  /** What ends once the requests that hold it are answered. */
  readonly #ending = new Set<Promise<void>>();
  #generation = 0;
  #lastId = -1;

  /**
   * @param most entries
   * @param mixes told of what they are made of
   */
  constructor(most: number, mixes: AdapterMixes) {
    this.#most = most;
    this.#mixes = mixes;
  }

  /** Counts a change. */
  changed(): void {
    this.#generation++;
  }

  /** In the order of loading. */
  list(): readonly Entry[] {
    return [...this.#entries.values()].sort((a, b) => a.id - b.id);
  }

  get(name: string): Entry | undefined {
    return this.#entries.get(name);
  }

  /** @throws {ApiError} 404 for a name that is not known */
  known(name: string): Entry {
    const entry = this.#entries.get(name);
    if (entry === undefined) throw adapterNotFound(name);
    return entry;
  }

  /**
   * Checks that a name may change.
   *
   * @throws {ApiError} 409 if it is taken or another change came first, 400 if there are too many
   */
  check(name: string, { inPlace, expectedGeneration }: Expected): void {
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
    if (before === undefined && this.#entries.size >= this.#most) {
      throw new ApiError(400, `${this.#most} adapters are loaded: unload one`, {
        code: "lora_adapter_limit_exceeded",
      });
    }
  }

  /** The entry of a name, made if there is none. */
  entryFor(name: string): Entry {
    const entry = this.#entries.get(name) ?? { name, id: ++this.#lastId };
    this.#entries.set(name, entry);
    return entry;
  }

  /** Lets requests see an adapter. */
  use(
    entry: Entry,
    source: AdapterSource,
    more: Pick<NamedAdapter, "merged" | "gainKept" | "times"> = {},
  ): void {
    const { name, id, current: before } = entry;
    if (before !== undefined && before.source !== source) entry.previous = before.source;
    entry.current = {
      ...{ name, id, source, ...more },
      generation: ++this.#generation,
      created: unixSeconds(),
    };
    this.retire(before?.merged);
    // A mix that requests get without asking must go on.
    if (source.matrices === undefined) this.#mixes.forget(id);
    this.#mixes.clear();
  }

  /** Forgets a name. */
  remove(entry: Entry): void {
    this.#entries.delete(entry.name);
    this.retire(entry.current?.merged);
    this.#mixes.forget(entry.id);
    this.#generation++;
  }

  /** Closes a merged model once its requests are answered. */
  retire(merged: HeldModel | undefined): void {
    if (merged !== undefined) this.until(merged.retire());
  }

  /** Has {@linkcode ended} wait for something that does not fail. */
  until(work: Promise<void>): void {
    const ended = work.then(() => void this.#ending.delete(ended));
    this.#ending.add(ended);
  }

  /** Resolves when what is retired is closed. */
  async ended(): Promise<void> {
    await Promise.all(this.#ending);
  }
}
