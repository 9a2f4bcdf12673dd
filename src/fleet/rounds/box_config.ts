/** From a task and the settings of a box to a training's configuration. */
import { join } from "@std/path";
import { ParameterError } from "../../errors.ts";
import type { FineTuneConfig } from "../../finetune/config.ts";
import { resolveConfig } from "../../finetune/resolve_config.ts";
import type { FleetTask } from "./task.ts";
import { TaskError } from "./task_error.ts";

/** What a box decides by itself. */
export interface BoxSettings {
  readonly model: string;
  readonly data: string;
  /** The box's own rank, for `stack`; the message's if absent. */
  readonly rank?: number;
  /** Parameters of `graft train`; a message's override them. */
  readonly training: Partial<FineTuneConfig>;
}

/** Parameters that a fleet cannot have: on the wire there are A and B of plain LoRA. */
const NOT_IN_A_FLEET = [
  "adapterType",
  "useDora",
  "useRslora",
  "rankPattern",
  "alphaPattern",
  "modulesToSave",
  "bias",
  "initLoraWeights",
  "loftqModel",
  "resumeAdapterFile",
  "saveAs",
  "adapterPath",
] as const satisfies readonly (keyof FineTuneConfig)[];

/** Share of the rows to hold out where neither files nor settings say. */
const VALIDATION_SPLIT = 0.1;
/** Steps between reports, whose last is the round's loss. */
const STEPS_PER_REPORT = 10;

/**
 * Refuses parameters that a fleet cannot have.
 *
 * @throws {ParameterError} naming the parameter
 */
export function checkFleetTraining(training: Partial<FineTuneConfig>): void {
  const found = NOT_IN_A_FLEET.find((key) => training[key] !== undefined);
  if (found === undefined) return;
  throw new ParameterError(
    found,
    (name) => `${name(found)} cannot be set in a fleet, which trains plain LoRA: leave it out`,
  );
}

/**
 * The configuration of a round's training.
 *
 * @param work folder with the adapter to start from, in `start`, and for the trained one, in `adapter`
 * @throws {TaskError} if the task asks for another rank than this box has
 * @throws {ParameterError} for settings of the box that cannot be used
 */
export function roundConfig(task: FleetTask, box: BoxSettings, work: string): FineTuneConfig {
  const { rank = box.rank } = task;
  if (box.rank !== undefined && rank !== box.rank && task.aggregation !== "stack") {
    throw new TaskError(
      `This box trains rank ${box.rank}, which "aggregation" ${task.aggregation} does not allow`,
    );
  }
  const { epochs, iters, ...training } = box.training;
  const steps = task.maxSteps !== undefined
    ? { iters: task.maxSteps }
    : iters !== undefined
    ? { iters }
    : { epochs: epochs ?? 1 };
  const asked = {
    rank: box.rank ?? task.rank,
    loraAlpha: task.loraAlpha,
    targetModules: task.targetModules,
    learningRate: task.learningRate,
    batchSize: task.batchSize,
  };
  const given = Object.fromEntries(
    Object.entries(asked).filter(([, value]) => value !== undefined),
  );
  return resolveConfig({
    ...{ validationSplit: VALIDATION_SPLIT, lrSchedule: "constant" },
    stepsPerReport: Math.min(STEPS_PER_REPORT, steps.iters ?? STEPS_PER_REPORT),
    ...training,
    ...given,
    ...steps,
    ...{ model: box.model, data: box.data },
    // Rows in another order each round; A comes with the adapter to start from.
    seed: task.seed + task.round,
    freezeA: task.aggregation === "private",
    // Before the first step and after the last.
    ...{ stepsPerEval: steps.iters ?? Number.MAX_SAFE_INTEGER, patience: 0, loadBest: false },
    ...{ test: false, train: true, reportTo: ["none"] },
    resumeAdapterFile: join(work, START),
    adapterPath: join(work, TRAINED),
  });
}

/** Folders of a round's work: the adapter that it starts from, and the trained one. */
export const [START, TRAINED] = ["start", "adapter"];
