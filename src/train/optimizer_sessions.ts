/** The compiled graphs of an optimiser: groups of the same shapes share theirs. */
import type { Model } from "../graph/types.ts";
import type { Executable, Runner } from "../runtime/runner.ts";
import {
  type GroupDims,
  squaredNormModel,
  type UpdateModel,
  updateModel,
} from "./optimizer_graphs.ts";
import type { OptimizerSettings } from "./update_rules.ts";

/** The sessions that a group runs. */
export interface UpdateSessions {
  readonly norm: Executable;
  readonly step: Executable;
  readonly outputs: Omit<UpdateModel, "model">;
}

export class OptimizerSessions implements Disposable {
  readonly #compiled = new Map<string, UpdateSessions>();
  readonly #open: Executable[] = [];

  /**
   * @param singleThread whether they are for a list of runs. While the parts of a batch run at the same time,
   *   the runner's other threads sleep; for a while after they have helped, they would take a core from a
   *   part
   */
  constructor(
    readonly runner: Runner,
    readonly singleThread: boolean,
  ) {}

  /** @param projected as of `updateModel` */
  async of(
    dims: GroupDims,
    settings: OptimizerSettings,
    projected: readonly boolean[],
  ): Promise<UpdateSessions> {
    const key = JSON.stringify([dims, settings, projected]);
    const found = this.#compiled.get(key);
    if (found !== undefined) return found;
    const { model: update, ...outputs } = updateModel(dims, settings, projected);
    // Small elementwise graphs: ORT's optimiser could save no time in them and would only slow the start.
    const compile = async (model: Model, label: string) => {
      const executable = await this.runner.compile(model, {
        singleThread: this.singleThread,
        optimization: "basic",
        label,
      });
      this.#open.push(executable);
      return executable;
    };
    const made = {
      norm: await compile(squaredNormModel(dims), "gradient norm"),
      step: await compile(update, settings.name),
      outputs,
    };
    this.#compiled.set(key, made);
    return made;
  }

  [Symbol.dispose](): void {
    for (const executable of this.#open) executable[Symbol.dispose]();
  }
}
