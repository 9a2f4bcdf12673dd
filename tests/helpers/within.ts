/** Waits until something holds; throws after `ms`. */
export async function within(ms: number, holds: () => boolean): Promise<void> {
  const end = performance.now() + ms;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`Not within ${ms} ms`);
    await new Promise((done) => setTimeout(done, 5));
  }
}
