/** `true` where a unix socket lies at a path, else `undefined`: what `until()` waits for. */
export function isSocket(path: string): true | undefined {
  try {
    return Deno.statSync(path).isSocket || undefined;
  } catch {
    return undefined;
  }
}
