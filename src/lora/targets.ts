/** Selects the linear layers of an adapter, with rank and scale. */
import { levenshteinDistance } from "@std/text/levenshtein-distance";
import { ParameterError } from "../errors.ts";
import { DEFAULT_LORA, type LoraConfig, loraScale, validateLoraConfig } from "./config.ts";
import type { LinearModule } from "./modules.ts";
import { suffixOf } from "./names.ts";
import { isPattern, patternTest, PatternValues } from "./pattern.ts";
import type { Reach } from "./reach.ts";
import { shorthandMatches, SHORTHANDS } from "./shorthand.ts";

/** One linear layer with the settings of its adapter. */
export interface LoraSite {
  /** Linear layer that is adapted. */
  readonly module: LinearModule;
  /** Rank of its matrices. */
  readonly rank: number;
  /** Its alpha. */
  readonly alpha: number;
  /** Factor of the update: alpha/rank, or alpha/√rank. */
  readonly scale: number;
  /** Share of its inputs dropped in training. */
  readonly dropout: number;
}

/**
 * Chooses the modules a configuration targets, in the graph's order.
 *
 * A target is a module name (`q_proj`: every path that ends with it), a path, a shorthand
 * (`q`, `v`, `attention`, `mlp`, `all-linear`: all but the head), a glob (`model.layers.*.q_proj`) or
 * a regular expression over the whole path. Modules of `modulesToSave` are left out.
 *
 * @param reaches modules for which it is false are left out; default: none
 * @throws {ParameterError} if a target or a key of a pattern matches nothing, listing the modules
 */
export function resolveTargets(
  modules: readonly LinearModule[],
  config: Omit<LoraConfig, "init">,
  reaches: Reach = () => true,
): readonly LoraSite[] {
  validateLoraConfig(config);
  const saved = (path: string) => config.modulesToSave.some((name) => endsWith(path, name));
  const allowed = layerFilter(modules, config);
  const chosen = new Set<LinearModule>();
  for (const target of config.targetModules) {
    const found = matching(modules, target);
    if (found.length === 0) throw noMatch(modules, target);
    const reached = found.filter(reaches);
    if (reached.length === 0) {
      throw new ParameterError(
        "targetModules",
        `Cannot train LoRA at "${target}": the loss does not depend on ${found[0].path}`,
      );
    }
    for (const module of reached) if (allowed(module) && !saved(module.path)) chosen.add(module);
  }
  if (chosen.size === 0 && config.targetModules.length > 0) {
    throw new ParameterError(
      config.layers === undefined ? "numLayers" : "layers",
      `Cannot inject LoRA at "${
        config.targetModules.join(",")
      }": no such module lies in the chosen layers` +
        ` and outside the modules to save; this model has layers ${layerRange(modules)}`,
    );
  }
  const adapted = modules.filter((module) => chosen.has(module));
  checkPatternsMatch(adapted, config);
  const ranks = new PatternValues(config.rankPattern);
  const alphas = new PatternValues(config.alphaPattern);
  return adapted.map((module) => {
    const rank = ranks.of(module.path) ?? config.rank;
    const alpha = alphas.of(module.path) ?? config.alpha;
    const scale = loraScale(alpha, rank, config.useRslora);
    return { module, rank, alpha, scale, dropout: config.dropout };
  });
}

/** Checks that every key matches a module: otherwise the adapter would differ from the user's request. */
function checkPatternsMatch(
  adapted: readonly LinearModule[],
  config: Omit<LoraConfig, "init">,
): void {
  const { rankPattern, alphaPattern } = config;
  for (const key of [...Object.keys(rankPattern), ...Object.keys(alphaPattern)]) {
    const pattern = new PatternValues({ [key]: 1 });
    if (adapted.some(({ path }) => pattern.of(path) !== undefined)) continue;
    const names = [...new Set(adapted.map(({ path }) => suffixOf(path)))];
    throw new ParameterError(
      Object.hasOwn(rankPattern, key) ? "rankPattern" : "alphaPattern",
      `Cannot give "${key}" a rank or alpha of its own: no adapted module has this name; ` +
        `adapted are ${names.join(", ")}`,
    );
  }
}

const endsWith = (path: string, name: string) => path === name || path.endsWith(`.${name}`);

/** Default targets: q and v, or all linears if there are none. */
export function usualTargets(modules: readonly LinearModule[]): readonly string[] {
  const { targetModules } = DEFAULT_LORA;
  return targetModules.every((target) => matching(modules, target).length > 0)
    ? targetModules
    : ["all-linear"];
}

/** Modules that one target names. */
function matching(modules: readonly LinearModule[], target: string): readonly LinearModule[] {
  if (target === "all-linear") return modules.filter((module) => !module.head);
  if (isPattern(target)) {
    const test = patternTest(target);
    return modules.filter((module) => test(module.path));
  }
  // A module name of the model takes precedence over a shorthand of the same spelling (T5's q, k, v).
  const named = modules.filter((module) => endsWith(module.path, target));
  return named.length > 0 ? named : modules.filter(({ path }) => shorthandMatches(target, path));
}

/** The layers that a configuration is about. */
export type LayerChoice = Pick<LoraConfig, "layers" | "numLayers">;

/** Whether a module lies in the chosen layers. */
export function layerFilter(
  modules: readonly LinearModule[],
  { layers, numLayers }: LayerChoice,
): (module: LinearModule) => boolean {
  const last = Math.max(-1, ...modules.map((module) => module.layer ?? -1));
  const first = numLayers === undefined || numLayers === -1 ? 0 : last - numLayers + 1;
  const set = layers === undefined ? undefined : new Set(layers);
  if (first <= 0 && set === undefined) return () => true;
  return ({ layer }) =>
    layer !== undefined && layer >= first && (set === undefined || set.has(layer));
}

function layerRange(modules: readonly LinearModule[]): string {
  const layers = modules.flatMap((module) => module.layer ?? []);
  return layers.length === 0 ? "none" : `0 to ${Math.max(...layers)}`;
}

function noMatch(modules: readonly LinearModule[], target: string): ParameterError {
  if (modules.length === 0) {
    return new ParameterError(
      "targetModules",
      `Cannot inject LoRA at "${target}": this model has no linear layer that graft can adapt ` +
        "(`graft inspect` shows its operators); export it in floats and quantise that, say with " +
        "`graft quantize`",
    );
  }
  const names = [...new Set(modules.map((module) => suffixOf(module.path)))];
  if (target === "all-linear") {
    return new ParameterError(
      "targetModules",
      `Cannot inject LoRA at "all-linear": the only layers that graft can adapt make the model's ` +
        `output, and are adapted only if they are named: ${names.join(", ")}`,
    );
  }
  const near = [...names, ...SHORTHANDS]
    .map((name) => ({ name, distance: levenshteinDistance(target, name) as number }))
    .filter(({ name, distance }) => distance <= Math.max(1, Math.floor(name.length / 3)))
    .sort((a, b) => a.distance - b.distance)
    .slice(0, 3);
  const hint = near.length === 0
    ? ""
    : `; did you mean ${near.map(({ name }) => name).join(" or ")}?`;
  return new ParameterError(
    "targetModules",
    `Cannot inject LoRA at "${target}": this model has no such module${hint}; it has ` +
      `${names.join(", ")} (and the shorthands ${SHORTHANDS.join(", ")})`,
  );
}

/**
 * Names with which PEFT selects exactly the adapted modules: last components if they are unambiguous in
 * the graph and in the checkpoint, whole paths otherwise.
 */
export function targetNames(
  adapted: readonly string[],
  modules: readonly LinearModule[],
): readonly string[] {
  const suffixes = [...new Set(adapted.map(suffixOf))];
  const chosen = new Set(adapted);
  const exact = modules.every(({ path }) =>
    chosen.has(path) || !suffixes.some((suffix) => endsWith(path, suffix))
  );
  // An export may lack modules of the checkpoint (a pooler's `dense`), which a last component would
  // match.
  return exact && !suffixes.includes("dense") ? suffixes : adapted;
}
