/** The candidates that a model allows: modules, ranks, and what they cost. */
import { parseSize } from "../../config/size.ts";
import { ParameterError } from "../../errors.ts";
import { type AdapterTargets, targetsOf } from "../../finetune/adapter_targets.ts";
import type { Model } from "../../graph/types.ts";
import { indexGraph } from "../../lora/graph_index.ts";
import { scaleGrid } from "../../lora/scale_adapter.ts";
import { allocateRanks, type RankedModule } from "../../search/allocate_ranks.ts";
import type { Candidate, CandidateKind } from "../../search/candidate.ts";
import { candidateConfig } from "./candidate_config.ts";
import type { RankSearchConfig } from "./settings.ts";

/** Sets of modules to try if none are named. */
const USUAL_SETS = ["q", "q,v", "attention", "all-linear"];

/** Largest rank of a module, as a multiple of the rank that all would have. */
const MOST_TIMES = 4;

/** A module and what a rank of it costs. */
type CostedModule = Omit<RankedModule, "singularValues">;

/** Makes candidates for one model. */
export class AdapterShapes {
  readonly #model: Model;
  readonly #config: RankSearchConfig;
  readonly #mostParameters: number;

  /**
   * @throws {ParameterError} for targets that the model does not have, and an adapter that has no ranks
   */
  constructor(model: Model, config: RankSearchConfig) {
    if (!config.adapterType.some((method) => method === "lora" || method === "scales")) {
      throw new ParameterError(
        "adapterType",
        (name) =>
          `${
            name("adapterType", config.adapterType.join(","))
          } has no rank to search for: a search ` +
          "needs lora or scales",
      );
    }
    this.#model = model;
    this.#config = config;
    this.#mostParameters = config.adapterBudget === undefined
      ? Infinity
      : Math.floor(parseSize(config.adapterBudget, "adapterBudget") / BYTES_EACH);
  }

  /**
   * The ranks to try on the configured modules, ascending.
   *
   * @throws {ParameterError} if even the smallest is too large an adapter
   */
  ranks(): readonly Candidate[] {
    const { ranks, targetModules } = this.#config;
    const all = ranks.map((rank) => this.#uniform("rank", targetModules, rank));
    const fitting = all.filter(({ parameters }) => parameters <= this.#mostParameters);
    if (fitting.length > 0) return fitting;
    throw new ParameterError(
      "adapterBudget",
      (name) =>
        `${name("adapterBudget")} must be >= ${
          all[0].parameters * BYTES_EACH
        } bytes, the size of ` +
        `${all[0].name}: current value is ${this.#config.adapterBudget}`,
    );
  }

  /**
   * Other sets of modules, each with the largest rank at which it has no more parameters than the chosen
   * candidate, but at least 1.
   *
   * @throws {ParameterError} for a set that was named and that the model does not have
   */
  targetSets(chosen: Candidate): readonly Candidate[] {
    const seen = new Set([this.#pathsOf(chosen.targetModules)]);
    return (this.#config.targetSets ?? USUAL_SETS).flatMap((set) => {
      const targets = set.split(",").map((name) => name.trim());
      const modules = this.#modulesIn(targets);
      if (modules === undefined || seen.has(keyOf(modules))) return [];
      seen.add(keyOf(modules));
      const rank = Math.max(1, Math.floor(chosen.parameters / costOf(modules)));
      const candidate = this.#uniform("targets", targets, rank);
      return candidate.parameters <= this.#mostParameters ? [candidate] : [];
    });
  }

  /** Rank of the random adapter through which the gradient is seen. */
  sketchRank({ rank, targetModules }: Candidate): number {
    const inputs = targetsOf(this.#model, this.#adapter(targetModules, 1)).sites
      .map(({ module }) => module.inFeatures);
    return Math.min(2 * MOST_TIMES * rank, ...inputs);
  }

  /**
   * The chosen candidate's modules and parameters, each module with a rank by its gradient's singular
   * values; those that get none are left alone.
   *
   * @param spectra singular values by path, descending
   */
  perLayer(chosen: Candidate, spectra: ReadonlyMap<string, Float64Array>): Candidate {
    const { rank, targetModules, parameters } = chosen;
    const modules = this.#modulesOf(targetModules).map((module) => ({
      ...module,
      singularValues: spectra.get(module.path)!,
    }));
    const ranks = [...allocateRanks(modules, parameters, MOST_TIMES * rank)]
      .filter(([, rank]) => rank > 0);
    const others = ranks.filter(([, own]) => own !== rank);
    const costs = new Map(modules.map(({ path, cost }) => [path, cost]));
    return {
      name: `ranks by layer on ${targetModules.join(",")}`,
      kind: "per layer",
      targetModules: ranks.map(([path]) => path),
      rank,
      rankPattern: Object.fromEntries(others),
      // Every module keeps the scale that it has at the one rank of all.
      alphaPattern: Object.fromEntries(
        others.map(([path, own]) => [path, this.#alphaLike(own / rank)]),
      ),
      parameters: ranks.reduce((sum, [path, rank]) => sum + rank * costs.get(path)!, 0),
    };
  }

  #alphaLike(times: number): number {
    const { loraAlpha, useRslora } = this.#config;
    return loraAlpha * (useRslora ? Math.sqrt(times) : times);
  }

  #uniform(kind: CandidateKind, targetModules: readonly string[], rank: number): Candidate {
    return {
      name: `rank ${rank} on ${targetModules.join(",")}`,
      ...{ kind, targetModules, rank, rankPattern: {}, alphaPattern: this.#config.alphaPattern },
      parameters: rank * costOf(this.#modulesOf(targetModules)),
    };
  }

  /** `undefined` for a usual set that the model does not have. */
  #modulesIn(targets: readonly string[]): readonly CostedModule[] | undefined {
    try {
      return this.#modulesOf(targets);
    } catch (error) {
      const usual = this.#config.targetSets === undefined;
      if (usual && error instanceof ParameterError) return undefined;
      throw error;
    }
  }

  #modulesOf(targetModules: readonly string[]): readonly CostedModule[] {
    const { sites } = targetsOf(this.#model, this.#adapter(targetModules, 1));
    return costed(this.#model, sites, this.#config.adapterType.includes("scales"));
  }

  #pathsOf(targetModules: readonly string[]): string {
    return keyOf(this.#modulesOf(targetModules));
  }

  #adapter(targetModules: readonly string[], rank: number) {
    return candidateConfig(this.#config, {
      targetModules,
      rank,
      rankPattern: {},
      alphaPattern: {},
    });
  }
}

/** Adapters are float32. */
export const BYTES_EACH = 4;

function costed(
  model: Model,
  sites: AdapterTargets["sites"],
  scales: boolean,
): readonly CostedModule[] {
  const index = scales ? indexGraph(model.graph) : undefined;
  return sites.map(({ module }) => {
    const columns = index === undefined ? module.inFeatures : scaleGrid(index, module).blocks;
    return { path: module.path, cost: columns + module.outFeatures };
  });
}

const costOf = (modules: readonly CostedModule[]) =>
  modules.reduce((sum, { cost }) => sum + cost, 0);

const keyOf = (modules: readonly CostedModule[]) => modules.map(({ path }) => path).join("\n");
