/** The part of `deno.lock` that a program needs: its packages with their digests, and nothing else. */

interface LockedPackage {
  readonly integrity?: string;
  readonly dependencies?: readonly string[];
  /** Those of the dependencies that it does without. */
  readonly optionalPeers?: readonly string[];
}

/** `deno.lock`, version 5, as far as npm packages go. */
export interface Lockfile {
  readonly version: string;
  readonly specifiers: Readonly<Record<string, string>>;
  readonly npm: Readonly<Record<string, LockedPackage>>;
  readonly workspace: { readonly dependencies: readonly string[] };
}

/** A locked npm package. */
export interface Locked {
  readonly name: string;
  readonly version: string;
  /** `sha512-` and base64, as npm writes it. */
  readonly integrity?: string;
}

/** `npm:@scope/name@1.2.3/file.js` without the file: as the lock file writes it. */
export function packageOf(specifier: string): string {
  const [, name] = /^npm:((?:@[^/]+\/)?[^/]+)/.exec(specifier) ?? [];
  if (name === undefined) throw new Error(`${specifier} is no npm package`);
  return `npm:${name}`;
}

/**
 * The lock file of a program that imports only some of the packages.
 *
 * @param specifiers as {@linkcode packageOf} gives them
 * @throws {Error} where one is not in the lock file
 */
export function pruneLock(lock: Lockfile, specifiers: ReadonlySet<string>): Lockfile {
  const npm: Record<string, LockedPackage> = {};
  const peers = new Set<string>();
  const take = (key: string) => {
    const entry = lock.npm[key];
    if (entry === undefined) throw new Error(`deno.lock has no ${key}`);
    if (key in npm) return;
    npm[key] = entry;
    for (const dependency of entry.dependencies ?? []) {
      const found = keyOf(lock, dependency);
      if (entry.optionalPeers?.includes(dependency)) peers.add(found);
      else take(found);
    }
  };
  const sorted = [...specifiers].sort();
  for (const specifier of sorted) {
    const version = lock.specifiers[specifier];
    if (version === undefined) throw new Error(`deno.lock has no ${specifier}`);
    const name = specifier.slice("npm:".length, specifier.lastIndexOf("@"));
    take(`${name}@${version}`);
  }
  // Packages that are only optional peers are left out, and with them their part of others' names.
  const left = [...peers].filter((key) => !(key in npm));
  const without = (text: string) => left.reduce((now, key) => now.replaceAll(`_${key}`, ""), text);
  return {
    version: lock.version,
    specifiers: Object.fromEntries(sorted.map((key) => [key, without(lock.specifiers[key])])),
    npm: Object.fromEntries(
      Object.entries(npm).map(([key, entry]) =>
        [without(key), withoutPeers(entry, left.map((peer) => partsOf(peer).name))] as const
      ).sort(([a], [b]) => a < b ? -1 : 1),
    ),
    workspace: { dependencies: sorted },
  };
}

function withoutPeers(entry: LockedPackage, names: readonly string[]): LockedPackage {
  const { dependencies, optionalPeers, ...rest } = entry;
  const kept = dependencies?.filter((name) => !names.includes(name)) ?? [];
  const peers = optionalPeers?.filter((name) => !names.includes(name)) ?? [];
  return {
    ...rest,
    ...(kept.length === 0 ? {} : { dependencies: kept }),
    ...(peers.length === 0 ? {} : { optionalPeers: peers }),
  };
}

/** A dependency is written without its version where the lock file has only one. */
function keyOf(lock: Lockfile, dependency: string): string {
  if (dependency in lock.npm) return dependency;
  const found = Object.keys(lock.npm).filter((key) => partsOf(key).name === dependency);
  if (found.length !== 1) throw new Error(`deno.lock has ${found.length} of ${dependency}`);
  return found[0];
}

/** `@scope/name@1.2.3_peer@4.5.6`: the peers, which a package was resolved with, stand last. */
function partsOf(key: string): { readonly name: string; readonly version: string } {
  const [, name, version] = /^((?:@[^/]+\/)?[^@]+)@([^_]+)/.exec(key) ?? [];
  if (version === undefined) throw new Error(`deno.lock has a package ${key}, which is none`);
  return { name, version };
}

/** The packages of a lock file. */
export function lockedPackages(lock: Lockfile): Locked[] {
  return Object.entries(lock.npm).map(([key, { integrity }]) => ({ ...partsOf(key), integrity }));
}
