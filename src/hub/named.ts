/** What names of pulled models and stored adapters stand for, and their removal. */
import { ParameterError, UsageError } from "../errors.ts";
import { bytesUnder } from "../system/folders.ts";
import { type AdapterEntry, AdapterStore } from "./adapter_store.ts";
import { type Installed, installedIn } from "./installed.ts";
import { parseModelName } from "./names.ts";
import { findSnapshot } from "./pulled.ts";
import { removeSnapshot } from "./remove.ts";
import { hubCache } from "./settings.ts";

/** Which of the two a name means, where both have it. */
export type NamedKind = "any" | "model" | "adapter";

/** What a name stands for. */
export interface Named {
  /** The adapter in graft's store that has the name. */
  readonly adapter?: AdapterEntry;
  /** Revisions of a pulled model: the one that was named, or all. */
  readonly revisions: readonly Installed[];
}

/**
 * Finds what a name stands for.
 *
 * @param text `name`, `org/name` or `org/name@revision`
 * @throws {UsageError} where nothing has it
 * @throws {ParameterError} where both have it and `kind` does not say
 */
export function findNamed(text: string, kind: NamedKind = "any"): Named {
  const name = parseModelName(text);
  const adapter = name === undefined || kind === "model"
    ? undefined
    : new AdapterStore().entry(text);
  let revisions: readonly Installed[] = [];
  if (name !== undefined && kind !== "adapter") {
    const cache = hubCache();
    const all = installedIn(cache).filter(({ repository }) => repository === name.repository);
    revisions = name.revision === undefined || all.length === 0
      ? all
      : all.filter(({ commit }) => commit === findSnapshot(cache, name)?.commit);
  }
  if (adapter === undefined && revisions.length === 0) {
    throw new UsageError(
      `Nothing has the name "${text}": \`graft list\` shows what is pulled and stored`,
    );
  }
  if (adapter !== undefined && revisions.length > 0) {
    throw new ParameterError(
      "kind",
      (name) => `A model and an adapter have the name "${text}": say which with ${name("kind")}`,
    );
  }
  return { adapter, revisions };
}

/**
 * Removes what a name stands for. Files that other revisions of a model use stay.
 *
 * @param options.all whether all revisions of a model go
 * @returns bytes that are free again
 * @throws {UsageError} where nothing has the name
 * @throws {ParameterError} where both have it and `kind` does not say, or a model has several revisions
 * @throws {RefusedError | StorageError} where it is in use, or cannot be removed
 */
export function removeNamed(
  text: string,
  { kind = "any", all = false }: { readonly kind?: NamedKind; readonly all?: boolean } = {},
): { readonly sizeBytes: number } {
  const { adapter, revisions } = findNamed(text, kind);
  if (revisions.length > 1 && !all) {
    const each = revisions.map(({ refs, commit }) => refs[0] ?? commit.slice(0, 12));
    throw new ParameterError(
      "all",
      (name) =>
        `${text} has ${revisions.length} revisions: name one of ${each.join(", ")} as ` +
        `${text}@${each[0]}, or add ${name("all")}`,
    );
  }
  let sizeBytes = 0;
  if (adapter !== undefined) {
    sizeBytes = adapter.folder === undefined ? 0 : bytesUnder(adapter.folder) ?? 0;
    new AdapterStore().remove(adapter);
  }
  for (const { place, commit } of revisions) sizeBytes += removeSnapshot(place, commit).sizeBytes;
  return { sizeBytes };
}
