/** The configuration that a search leaves in its folder, from which it goes on. */
import { join } from "@std/path";
import { formatConfig } from "../../config/file.ts";
import { ParameterError } from "../../errors.ts";
import { exists, replaceFile } from "../../system/durable_files.ts";
import { RANK_SEARCH_PARAMETERS, type RankSearchConfig } from "./settings.ts";

const FILE = "search.yaml";

/** @throws {StorageError} if it cannot be written */
export function saveSearchConfig(config: RankSearchConfig): void {
  const text = formatConfig(
    { ...config, ranks: config.ranks.map(String) },
    { ...RANK_SEARCH_PARAMETERS, ranks: { kind: "list" } },
  );
  replaceFile(join(config.savePath, FILE), new TextEncoder().encode(text));
}

/**
 * The file of the configuration that a search in this folder began with.
 *
 * @throws {ParameterError} if there is none
 */
export function searchFileOf(savePath: string): string {
  const path = join(savePath, FILE);
  if (exists(path)) return path;
  throw new ParameterError(
    "savePath",
    (name) =>
      `Cannot resume: ${savePath} has no search (${name("savePath")} names the search's folder; ` +
      "a relative one begins at the current folder)",
  );
}
