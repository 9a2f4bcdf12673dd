/** What `list`, `show` and `rm` say of pulled models and stored adapters, and how they find them. */
import { UsageError } from "../errors.ts";
import { type AdapterEntry, AdapterStore, type StoredAdapter } from "../hub/adapter_store.ts";
import { type Installed, installedIn } from "../hub/installed.ts";
import { parseModelName } from "../hub/names.ts";
import { findSnapshot } from "../hub/pulled.ts";
import { hubCache } from "../hub/settings.ts";
import { formatFigure } from "./table.ts";

/** A revision as JSON; documented in the README. */
export function installedJson(installed: Installed) {
  const { repository, commit, refs, kind, variants, sizeBytes, modified, place } = installed;
  return {
    name: repository,
    kind,
    commit,
    refs,
    variants: variants.map(({ name, path }) => ({ name, path })),
    size_bytes: sizeBytes,
    modified: modified?.toISOString() ?? null,
    folder: place.snapshot(commit),
  };
}

/** A stored adapter as JSON: its record, its name and its folder. */
export function adapterJson({ name, folder, record }: StoredAdapter) {
  return { name, ...record, folder };
}

/** `step 20, loss 1.234`. */
export function formatMetrics(metrics: Readonly<Record<string, number>>): string | undefined {
  const parts = Object.entries(metrics).map(([name, value]) => `${name} ${formatFigure(value)}`);
  return parts.length === 0 ? undefined : parts.join(", ");
}

/** What a name stands for. */
export interface Named {
  readonly adapter?: AdapterEntry;
  /** Revisions of a pulled model: the one that was named, or all. */
  readonly revisions: readonly Installed[];
}

/**
 * Finds what a name stands for.
 *
 * @param kind which of the two, where both have the name
 * @throws {UsageError} where nothing has it, or both have it and `kind` does not say
 */
export function findNamed(text: string, kind: "any" | "model" | "adapter"): Named {
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
    throw new UsageError(`A model and an adapter have the name "${text}": say which with --kind`);
  }
  return { adapter, revisions };
}
