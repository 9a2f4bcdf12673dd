/**
 * Keeps the spans of a sequence close together. What a span leaves for another, keys and values or their
 * cotangents, takes memory until that one has read it, and a span that is far ahead waits in the end anyway.
 */
import type { EarlierResult, ListedRun } from "../runtime/runner.ts";

/** How many attentions a span may be ahead of the span that reads what it leaves. */
const MOST_AHEAD = 2;

type RunOfList = Pick<EarlierResult, "list" | "run">;

/**
 * Makes runs that leave something for another span wait until that one has begun to read what was left
 * {@linkcode MOST_AHEAD} attentions before.
 *
 * @param lists the runs of each span, which are changed
 * @param leaving for each span, what its runs leave for others
 */
export function holdBack(lists: ListedRun[][], leaving: readonly Iterable<EarlierResult>[]): void {
  const readers = firstReaders(lists);
  for (const [list, results] of leaving.entries()) {
    const runs = [...new Set(Array.from(results, ({ run }) => run))].sort((a, b) => a - b);
    const read = runs.map((run) => ({ run, by: readers.get(keyOf({ list, run })) }));
    // Forward the next span reads, backward the one before.
    for (const other of [list - 1, list + 1]) {
      const passed = read.filter(({ by }) => by?.list === other);
      for (const [i, { run }] of passed.slice(MOST_AHEAD).entries()) {
        lists[list][run] = { ...lists[list][run], after: [passed[i].by!] };
      }
    }
  }
}

/** For each run, the first run of another list that reads a result of it. */
function firstReaders(lists: readonly (readonly ListedRun[])[]): ReadonlyMap<string, RunOfList> {
  const readers = new Map<string, RunOfList>();
  for (const [list, runs] of lists.entries()) {
    for (const [run, { feeds }] of runs.entries()) {
      for (const feed of Object.values(feeds)) {
        if (!("list" in feed) || feed.list === list) continue;
        const key = keyOf(feed);
        if (!readers.has(key)) readers.set(key, { list, run });
      }
    }
  }
  return readers;
}

const keyOf = ({ list, run }: RunOfList) => `${list} ${run}`;
