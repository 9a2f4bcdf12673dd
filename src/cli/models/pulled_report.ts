/** What `list` and `show` say of pulled models and stored adapters. */
import type { StoredAdapter } from "../../hub/adapter_store.ts";
import type { Installed } from "../../hub/installed.ts";
import { formatFigure } from "../terminal/table.ts";

/** A revision as JSON. */
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
