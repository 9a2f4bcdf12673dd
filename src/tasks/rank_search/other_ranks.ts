/** The other ranks of a search under MPI, as rank 0 sees them, and their own part. */
import { join } from "@std/path";
import type { Communicator } from "../../distributed/communicator.ts";
import { compareRanks } from "../../distributed/job.ts";
import type { Line } from "../../distributed/line.ts";
import { exists, makeDirectory, removeFile, replaceFile } from "../../system/durable_files.ts";
import { readSmallText } from "../../system/small_file.ts";
import { RemoteTrainer } from "./remote_trainer.ts";
import type { RankSearchResult } from "./result.ts";
import { serveTrials } from "./serve_trials.ts";
import { type RankSearchConfig, trialConfigOf } from "./settings.ts";
import type { TrainerMeans } from "./train_trial.ts";
import { encodeMessage } from "./trial_messages.ts";

/** A file by which ranks see whether the search's folder is the same for them. */
const MARK = ".job";

/** Lines to all other ranks. */
export class OtherRanks implements Disposable {
  /** One for each of them. */
  readonly trainers: readonly RemoteTrainer[];

  private constructor(
    readonly ranks: Communicator,
    lines: readonly Line[],
    shares: readonly boolean[],
  ) {
    this.trainers = lines.map((line, i) => new RemoteTrainer(line, shares[i]));
  }

  /**
   * Meets them at the beginning.
   *
   * @param identity of base and data
   * @throws {UsageError} if one has another base, other data or settings
   */
  static async meet(
    ranks: Communicator,
    { config, totalSteps }: Pick<TrainerMeans, "config" | "totalSteps">,
    identity: readonly string[],
  ): Promise<OtherRanks> {
    await compareRanks(ranks, comparedOf(config, identity), "search");
    const mark = crypto.randomUUID();
    const path = join(config.savePath, MARK);
    replaceFile(path, new TextEncoder().encode(mark));
    await ranks.broadcast(new TextEncoder().encode(JSON.stringify({ mark, totalSteps })));
    const shares = await ranks.sum(Array.from({ length: ranks.count }, () => 0));
    removeFile(path);
    const others = Array.from({ length: ranks.count - 1 }, (_, i) => i + 1);
    return new OtherRanks(
      ranks,
      others.map((rank) => ranks.line(rank)),
      others.map((rank) => shares[rank] > 0),
    );
  }

  /** Tells them that the search is over. */
  async end(result: RankSearchResult): Promise<void> {
    for (const { line } of this.trainers) line.send(encodeMessage({ kind: "end", result }));
    await part(this.ranks, this.trainers.map(({ line }) => line));
  }

  [Symbol.dispose](): void {
    for (const { line } of this.trainers) line[Symbol.dispose]();
  }
}

/**
 * The part of a rank other than 0: it trains what rank 0 says, until the search is over.
 *
 * @param identity of base and data
 * @returns what rank 0 returns
 * @throws {UsageError} if this rank has another base, other data or settings
 * @throws {LostPeerError} if rank 0 is gone
 */
export async function serveSearch(
  ranks: Communicator,
  config: RankSearchConfig,
  identity: readonly string[],
  signal: AbortSignal,
): Promise<RankSearchResult> {
  await compareRanks(ranks, comparedOf(config, identity), "search");
  const told = await ranks.broadcast(new Uint8Array());
  const { mark, totalSteps } = JSON.parse(new TextDecoder().decode(told));
  const shares = exists(config.savePath) &&
    readSmallText(join(config.savePath, MARK)) === mark;
  await ranks.sum(
    Array.from({ length: ranks.count }, (_, r) => shares && r === ranks.rank ? 1 : 0),
  );
  if (!shares) makeDirectory(config.savePath);
  using line = ranks.line(0);
  const means = { config, totalSteps, onEvent: () => {} };
  const result = await serveTrials(ranks, line, means, signal);
  await part(ranks, [line]);
  return result;
}

/** Ends lines at both ends, before the job is left. */
async function part(ranks: Communicator, lines: readonly Line[]): Promise<void> {
  for (const line of lines) await line.close();
  await ranks.sum([]);
  for (const line of lines) line.drain();
}

/** What all ranks must have in common. */
function comparedOf(config: RankSearchConfig, [base, ...data]: readonly string[]) {
  const settings = { ...trialConfigOf(config), threads: undefined, ortLib: undefined };
  return { base, data: data.join(), settings: JSON.stringify(settings) };
}
