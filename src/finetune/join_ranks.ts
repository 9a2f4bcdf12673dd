/** The place of this process among those that an MPI launcher has started. */
import { Communicator, digestOf } from "../distributed/communicator.ts";
import { launchedBy } from "../distributed/launcher.ts";
import { ParameterError, UsageError } from "../errors.ts";
import type { FineTuneConfig } from "./config.ts";
import { identityOf } from "./run_loop.ts";
import type { TrainingParts } from "./training_parts.ts";

/**
 * Joins the job if a launcher started this process.
 *
 * @param signal asks all ranks to end
 * @throws {ParameterError} if a batch has fewer rows than there are ranks
 * @throws {RuntimeFailure} if no MPI library can be used
 */
export function joinRanks(
  config: FineTuneConfig,
  signal: AbortSignal | undefined,
): Communicator | undefined {
  const launched = launchedBy((name) => Deno.env.get(name));
  if (launched === undefined) return undefined;
  const { batchSize, collectiveTimeout: timeout } = config;
  const ranks = Communicator.join(launched, { timeout, signal });
  if (ranks === undefined || batchSize >= ranks.count) return ranks;
  throw new ParameterError(
    "batchSize",
    (name) =>
      `${name("batchSize")} is the rows of all ranks together and must be >= ${ranks.count}, ` +
      `the number of ranks: current value is ${batchSize}`,
  );
}

/**
 * Compares model, data and configuration of all ranks.
 *
 * @throws {UsageError} in all ranks, naming those that differ and in what
 */
export async function compareRanks(
  ranks: Communicator,
  parts: TrainingParts,
  config: FineTuneConfig,
): Promise<void> {
  const identity = { ...identityOf(parts, config), resume: `${config.resume}` };
  for (const [key, value] of Object.entries(identity)) {
    const differing = await ranks.differing(digestOf(new TextEncoder().encode(value)));
    if (differing.length === 0) continue;
    throw new UsageError(
      `All ranks must train the same: ${differing.length === 1 ? "rank" : "ranks"} ${
        differing.join(", ")
      } and rank 0 differ in ${key.replaceAll("_", " ")}; here it is ${value.slice(0, 80)}`,
    );
  }
}
