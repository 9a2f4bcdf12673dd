/** The layers that bottleneck adapters follow. */
import { ParameterError } from "../../errors.ts";
import type { LinearModule } from "../modules.ts";
import type { Reach } from "../reach.ts";
import { shorthandMatches } from "../shorthand.ts";
import { type LayerChoice, layerFilter } from "../targets.ts";
import type { Placement } from "./config.ts";

/** Shorthands of the layers of each placement: attention's output projection, the feed-forward part's. */
const FOLLOWED: Readonly<Record<Placement, readonly ("o" | "down")[]>> = {
  houlsby: ["o", "down"],
  pfeiffer: ["down"],
};

const WHAT = { o: "attention's output projection", down: "feed-forward part's output projection" };

/**
 * The layers behind which a placement has its adapters, in the graph's order.
 *
 * @throws {ParameterError} if the model names no such layers, or none lies in the chosen ones
 */
export function bottleneckSites(
  modules: readonly LinearModule[],
  placement: Placement,
  choice: LayerChoice,
  reaches: Reach,
): readonly LinearModule[] {
  const allowed = layerFilter(modules, choice);
  const followed = FOLLOWED[placement].flatMap((word) => {
    const found = modules.filter((module) => shorthandMatches(word, module.path));
    if (found.length > 0) return found;
    throw new ParameterError(
      "adapterType",
      (name) =>
        `Cannot add adapters behind the ${WHAT[word]} (${
          name("adapterType", placement)
        }): no layer of this model has such a name`,
    );
  });
  const chosen = new Set(followed.filter((module) => reaches(module) && allowed(module)));
  if (chosen.size === 0) {
    throw new ParameterError(
      choice.layers === undefined ? "numLayers" : "layers",
      "Cannot add adapters: no layer that the loss depends on lies in the chosen ones",
    );
  }
  return modules.filter((module) => chosen.has(module));
}
