/** `graft rank-search`: which rank and which modules an adapter needs. */
import { EXIT, ParameterError, UsageError } from "../../errors.ts";
import { keepHeapSmall } from "../../system/memory.ts";
import { rankSearch } from "../../tasks/rank_search.ts";
import { resultJson } from "../../tasks/rank_search/result_json.ts";
import { searchFileOf } from "../../tasks/rank_search/saved_search.ts";
import { command } from "../command.ts";
import { shellWord } from "../terminal/format.ts";
import { isFirstRank, ofFirstRank } from "../terminal/first_rank.ts";
import { StopSignal } from "../terminal/stop_signal.ts";
import { RANK_SEARCH_FLAGS } from "./rank_search_flags.ts";
import { searchNotes } from "./rank_search_notes.ts";
import { searchLines } from "./rank_search_text.ts";

export default command({
  name: "rank-search",
  summary: "Find the rank and the modules that an adapter needs, by training several",
  flags: RANK_SEARCH_FLAGS,
  examples: [
    {
      command: "graft rank-search --model ./minilm-int8 --data ./banking --iters 300",
      does: "doubles the rank until it no longer helps, then tries other modules",
    },
    {
      command: "graft rank-search -m ./smollm2-int4 --data ./data --per-layer --time-budget 8h",
      does: "tries ranks by layer, too, and stops after eight hours",
    },
    {
      command: "graft rank-search --resume",
      does: "goes on with the search in ./rank-search that was stopped",
    },
    {
      command: "mpirun -n 4 --host a,b,c,d graft rank-search -m ./minilm-int8 --data ./banking",
      does: "four boards train adapters at the same time",
    },
  ],
  impliedConfig: ({ resume, savePath = RANK_SEARCH_FLAGS.savePath.default }) =>
    resume ? savedSearch(savePath as string) : undefined,
  needs: ["run"],
  async run({ flags, terminal: own }) {
    const terminal = ofFirstRank(own);
    keepHeapSmall();
    const { config: _, json, ranks, ...rest } = flags;
    const where = flags.savePath === RANK_SEARCH_FLAGS.savePath.default
      ? ""
      : ` --save-path ${shellWord(flags.savePath)}`;
    using stop = new StopSignal(() => {
      terminal.note("Stopping after this batch; again to stop at once");
      terminal.note(`To go on: graft rank-search --resume${where}`);
    });
    const result = await rankSearch({ ...rest, ranks: parseRanks(ranks) }, {
      signal: stop.signal,
      onEvent: searchNotes(terminal),
    });
    if (json) terminal.print(resultJson(result).trimEnd());
    else for (const line of searchLines(result)) terminal.print(line);
    if (!result.complete) {
      terminal.note(`The time is over: graft rank-search --resume${where} goes on with the search`);
    }
    return EXIT.ok;
  },
});

/** Of the boards of a job only the first one need have the search's folder. */
function savedSearch(savePath: string): string | undefined {
  try {
    return searchFileOf(savePath);
  } catch (error) {
    if (error instanceof ParameterError && !isFirstRank()) return undefined;
    throw error;
  }
}

/** @throws {UsageError} for what is no number */
function parseRanks(texts: readonly string[]): readonly number[] {
  return texts.map((text) => {
    if (/^\d+$/.test(text)) return Number(text);
    throw new UsageError(`--ranks must be whole numbers >= 1: current value is "${text}"`);
  });
}
