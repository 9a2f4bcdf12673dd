/** The place of a training among those that an MPI launcher has started. */
import type { Communicator } from "../distributed/communicator.ts";
import { joinJob } from "../distributed/job.ts";
import { ParameterError } from "../errors.ts";
import type { FineTuneConfig } from "./config.ts";

/**
 * Joins the job if a launcher started this process.
 *
 * @param signal asks all ranks to end
 * @throws {ParameterError} if a batch has fewer rows than ranks share it, or the ranks are no pipelines of
 *   as many stages as were asked for
 * @throws {RuntimeFailure} if no MPI library can be used
 * @throws {LostPeerError} if not all ranks start in time
 */
export async function joinRanks(
  config: FineTuneConfig,
  signal: AbortSignal | undefined,
): Promise<Communicator | undefined> {
  checkPipeline(config);
  const { batchSize, collectiveTimeout: timeout, pipeline: stages } = config;
  const ranks = await joinJob({ timeout, signal, stages, resumes: true });
  if (ranks === undefined) {
    if (stages === 1) return undefined;
    throw new ParameterError(
      "pipeline",
      (name) =>
        `${name("pipeline", stages)} divides the model among ${stages} ranks: start them with ` +
        `mpirun -n ${stages}, or train in one process with ${name("pipeline", 1)}`,
    );
  }
  const { of: shares } = ranks.share;
  if (batchSize >= shares) return ranks;
  // All do: the launcher would kill those that are slower to find out.
  await ranks.leave();
  throw new ParameterError(
    "batchSize",
    (name) =>
      `${
        name("batchSize")
      } is the rows of all ranks together and must be >= ${shares}, the number ` +
      `of ${stages === 1 ? "ranks" : "pipelines"}: current value is ${batchSize}`,
  );
}

/** @throws {ParameterError} for what no pipeline can do */
function checkPipeline({ pipeline, numeric, ep }: FineTuneConfig): void {
  if (pipeline === 1) return;
  if (numeric !== "exact") {
    throw new ParameterError(
      "numeric",
      (name) => `${name("pipeline", pipeline)} computes in exact: current value is ${numeric}`,
    );
  }
  const other = ep?.find((provider) => provider !== "auto" && provider !== "cpu");
  if (other !== undefined) {
    throw new ParameterError(
      "ep",
      (name) => `${name("pipeline", pipeline)} runs on processors: current value is ${other}`,
    );
  }
}
