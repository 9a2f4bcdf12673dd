/** Waits until something is there, or true. */
export async function until<T>(
  what: string,
  look: () => T | undefined | Promise<T | undefined>,
  mostMs = 60_000,
): Promise<T> {
  const start = performance.now();
  while (performance.now() - start < mostMs) {
    try {
      const found = await look();
      if (found !== undefined && found !== false) return found;
    } catch {
      // not yet
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`It took too long until ${what}`);
}
