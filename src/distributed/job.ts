/** Work as one rank of the job that a launcher started, or alone. */
import type { ParametersOf } from "../config/parameter.ts";
import { UsageError } from "../errors.ts";
import { Communicator, type CommunicatorOptions, digestOf } from "./communicator.ts";
import { launchedBy } from "./launcher.ts";

/** How the ranks of a job wait for each other. */
export interface RanksConfig {
  /** Seconds after which a rank of a job under `mpirun` that does not answer counts as lost; default 60. */
  readonly collectiveTimeout: number;
}

/** The parameters of a {@linkcode RanksConfig}. */
export const RANKS_PARAMETERS = {
  collectiveTimeout: { kind: "integer", default: 60, min: 1 },
} as const satisfies ParametersOf<RanksConfig>;

/**
 * Joins the job if a launcher started this process.
 *
 * @returns `undefined` if this process is alone
 * @throws {RuntimeFailure} if no MPI library can be used
 * @throws {LostPeerError} if not all ranks start in time
 */
export async function joinJob(options: CommunicatorOptions): Promise<Communicator | undefined> {
  const launched = launchedBy((name) => Deno.env.get(name));
  return launched && await Communicator.join(launched, options);
}

/**
 * Does work as a rank of the job, which all leave at its end. If it fails in one, this one ends all at its own
 * end: others may wait for it.
 *
 * @param work `ranks` is absent if this process is alone
 * @throws {RuntimeFailure} if no MPI library can be used
 * @throws {LostPeerError} if another rank is gone
 */
export async function inJob<T>(
  options: CommunicatorOptions,
  work: (ranks: Communicator | undefined) => Promise<T>,
): Promise<T> {
  const ranks = await joinJob(options);
  if (ranks === undefined) return await work(undefined);
  let result: T;
  try {
    result = await work(ranks);
  } catch (error) {
    ranks.endAllAtExit(error);
    throw error;
  }
  await ranks.leave();
  return result;
}

/**
 * Compares what all ranks must have in common.
 *
 * @param identity by what it is
 * @param purpose a verb
 * @throws {UsageError} in all ranks, naming those that differ and in what
 */
export async function compareRanks(
  ranks: Communicator,
  identity: Readonly<Record<string, string>>,
  purpose: string,
): Promise<void> {
  for (const [key, value] of Object.entries(identity)) {
    const differing = await ranks.differing(digestOf(new TextEncoder().encode(value)));
    if (differing.length === 0) continue;
    throw new UsageError(
      `All ranks must ${purpose} the same: ${differing.length === 1 ? "rank" : "ranks"} ${
        differing.join(", ")
      } and rank 0 differ in ${key.replaceAll("_", " ")}; here it is ${value.slice(0, 80)}`,
    );
  }
}
