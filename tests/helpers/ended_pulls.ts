/** Pulls that end at each point at which a kill can hit them, and are pulled again. */
import { endedBefore } from "./ended_work.ts";
import { PullPlace, type PullSource } from "./pull_sources.ts";

/**
 * Ends pulls before every `stride`-th change of the disk, of a model that is new and of a newer
 * version of one that is there, and pulls again.
 *
 * @returns how many pulls were ended, and what went wrong, one line each
 */
export async function endPulls(
  source: PullSource,
  stride: number,
): Promise<{ readonly ended: number; readonly faults: readonly string[] }> {
  await using place = new PullPlace(source);
  const faults: string[] = [];
  let ended = 0;
  for (const isUpdate of [false, true]) {
    // Each has other points, where not all are gone through.
    for (let n = isUpdate ? 1 + (stride >> 1) : 1, reached = true; reached; n += stride) {
      if (isUpdate) {
        place.offer(1);
        await place.pull();
      }
      place.offer(2);
      reached = await endedBefore(n, () => place.pull());
      if (reached) ended++;
      const where = `${source}, ${isUpdate ? "newer" : "new"}, ended before change ${n}`;
      try {
        faults.push(...place.faults(!reached).map((fault) => `${where}: ${fault}`));
        await place.pull();
        faults.push(...place.faults(true).map((fault) => `${where}, pulled again: ${fault}`));
      } catch (error) {
        faults.push(`${where}, pulled again: ${error}`);
      }
      place.clear();
    }
  }
  return { ended, faults };
}
