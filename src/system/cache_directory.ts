/** The folder for data that graft can compute again, such as measurements of this device. */
import { isAbsolute, join } from "@std/path";

/**
 * The folder for caches: `GRAFT_CACHE_DIR`, else `graft` in `XDG_CACHE_HOME`, else `~/.cache/graft`;
 * `undefined` if the environment names no home.
 *
 * Source: XDG Base Directory Specification 0.8, by which relative paths are ignored.
 *
 * @param variable reads a variable of the environment; for tests
 */
export function cacheDirectory(
  variable: (name: string) => string | undefined = (name) => Deno.env.get(name),
): string | undefined {
  const own = variable("GRAFT_CACHE_DIR");
  if (own) return own;
  const shared = variable("XDG_CACHE_HOME");
  if (shared && isAbsolute(shared)) return join(shared, "graft");
  const home = variable("HOME");
  return home ? join(home, ".cache", "graft") : undefined;
}
