/** Files that import each other in a circle: none can be read or tested without the others. */

/** A relative import or re-export, types included, of a source text without comments. */
const IMPORT = /(?:\bfrom\s*|\bimport\s*)"(\.[^"]+)"/g;

/** Resolves a relative import of a file, both as paths from the root. */
export function importedPath(path: string, specifier: string): string {
  return new URL(specifier, `file:///${path}`).pathname.slice(1);
}

/**
 * The files of the project that a file imports, as paths from the root; those that it loads later, with
 * `import()`, it does without until then.
 */
export function importsOf(path: string, source: string): readonly string[] {
  return [...source.matchAll(IMPORT)].map(([, specifier]) => importedPath(path, specifier));
}

/**
 * Groups of files that reach each other by imports; imports of types count.
 *
 * @param imports by file, the files that it imports; others are leaves
 * @returns each group sorted; after Tarjan, Depth-First Search and Linear Graph Algorithms, 1972
 */
export function importCycles(
  imports: ReadonlyMap<string, readonly string[]>,
): readonly (readonly string[])[] {
  const [numbers, lowest] = [new Map<string, number>(), new Map<string, number>()];
  const open: string[] = [];
  const groups: string[][] = [];
  const visit = (path: string) => {
    numbers.set(path, numbers.size);
    lowest.set(path, numbers.get(path)!);
    open.push(path);
    for (const other of imports.get(path)!) {
      if (!imports.has(other)) continue;
      if (!numbers.has(other)) visit(other);
      if (open.includes(other)) lowest.set(path, Math.min(lowest.get(path)!, lowest.get(other)!));
    }
    if (lowest.get(path) !== numbers.get(path)) return;
    const group = open.splice(open.indexOf(path));
    if (group.length > 1) groups.push(group.sort());
  };
  for (const path of imports.keys()) if (!numbers.has(path)) visit(path);
  return groups;
}
