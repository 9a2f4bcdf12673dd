/** Lists pulled models. */
import { join } from "@std/path";
import { repositoriesOf, type RepositoryFolder, sizeOf } from "./cache.ts";
import { type Variant, variantsOf } from "./variants.ts";

/** One revision of a pulled repository. */
export interface Installed {
  /** Its repository in the cache. */
  readonly place: RepositoryFolder;
  /** Name, as `org/name`. */
  readonly repository: string;
  /** Commit of the hub, or a digest of what came from this machine. */
  readonly commit: string;
  /** Branches and tags that pointed to it when they were pulled. */
  readonly refs: readonly string[];
  /** What it holds. */
  readonly kind: "model" | "adapter" | "other";
  /** ONNX models in it. */
  readonly variants: readonly Variant[];
  /** Files of the revision. */
  readonly files: readonly { readonly path: string; readonly sizeBytes: number }[];
  /** Size of its files in bytes. */
  readonly sizeBytes: number;
  /** Time of the snapshot's last change. */
  readonly modified: Date | null;
}

/** All revisions in a cache, including those of other tools that graft cannot use. */
export function installedIn(cache: string): readonly Installed[] {
  return repositoriesOf(cache).flatMap((place) => {
    const refs = [...place.refs()];
    return place.commits().map((commit): Installed => {
      const paths = place.files(commit);
      const files = paths.map((path) => ({
        path,
        sizeBytes: sizeOf(join(place.snapshot(commit), path)) ?? 0,
      }));
      const variants = variantsOf(paths);
      return {
        place,
        repository: place.repository,
        commit,
        refs: refs.filter(([, at]) => at === commit).map(([name]) => name).sort(),
        kind: variants.length > 0
          ? "model"
          : paths.includes("adapter_config.json")
          ? "adapter"
          : "other",
        variants,
        files,
        sizeBytes: files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
        modified: Deno.statSync(place.snapshot(commit)).mtime,
      };
    });
  });
}
