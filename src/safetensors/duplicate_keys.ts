/** Finds a key that occurs twice in an object of a JSON text. */

/** Index after the string that begins at `at`; a loop, because a key may be as long as the text. */
function behindString(json: string, at: number): number {
  for (let i = at + 1;; i++) {
    if (json[i] === "\\") i++;
    else if (json[i] === '"') return i + 1;
  }
}

/**
 * The first repeated key, `undefined` if there is none. `JSON.parse` keeps the last of equal
 * keys silently, so two readers may see two different files.
 *
 * @param json a text that `JSON.parse` accepts.
 */
export function duplicateKey(json: string): string | undefined {
  const open: (Set<string> | undefined)[] = []; // undefined for an array
  let mayBeKey = false;
  for (let at = 0; at < json.length;) {
    const char = json[at];
    if (char === '"') {
      const end = behindString(json, at);
      const keys = open.at(-1);
      if (mayBeKey && keys !== undefined) {
        const key = JSON.parse(json.slice(at, end)) as string;
        if (keys.has(key)) return key;
        keys.add(key);
      }
      mayBeKey = false;
      at = end;
      continue;
    }
    if (char === "{") open.push(new Set());
    else if (char === "[") open.push(undefined);
    else if (char === "}" || char === "]") open.pop();
    if (char === "{" || char === ",") mayBeKey = true;
    at++;
  }
  return undefined;
}
