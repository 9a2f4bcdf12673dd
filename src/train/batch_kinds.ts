/**
 * What batches of other shapes than the largest add to a run's memory: sessions of their own, and steps whose
 * tensors are placed differently.
 */
import type { TokenBatch } from "../data/targets.ts";
import type { Graph } from "../graph/types.ts";
import type { ShapesToPredict } from "../plan/memory.ts";
import type { PlanOptions } from "../plan/options.ts";
import { sessionNodes, type ShapeKind, shapeKind, SIZE_VARIANTS } from "../plan/session_nodes.ts";
import { divideBatch } from "./divide_batch.ts";
import {
  packingRules,
  type PlannedModelOptions,
  planOptionsFor,
  type PlanUse,
} from "./planned_options.ts";
import type { PlanFamilies } from "./plan_families.ts";
import { prepare } from "./step_inputs.ts";

/** The planned parts of a batch, which are computed at the same time. */
interface Planned {
  readonly parts: readonly PlanOptions[];
  readonly blocks: number;
}

/**
 * Plans the smallest and the largest of the batches whose sessions have one form.
 *
 * @param plans where plans are looked up and kept
 * @param batches one of every shape, as large as they run at once
 */
export function batchKinds(
  plans: PlanFamilies,
  options: PlannedModelOptions,
  batches: readonly TokenBatch[],
  use: Omit<PlanUse, "passes" | "parts">,
  pass: "training" | "evaluation" = "training",
): ShapesToPredict {
  /** By form and number of blocks: the batch with the most rows. */
  const forms = new Map<string, Map<number, Planned>>();
  for (const batch of batches) {
    for (const planned of pass === "training" ? trained(batch) : [evaluated(batch)]) {
      const { form, blocks } = kindOf(options.model.graph, planned);
      const kinds = forms.get(form) ?? new Map<number, Planned>();
      forms.set(form, kinds);
      const other = kinds.get(blocks);
      if (other === undefined || rowsOf(planned) > rowsOf(other)) {
        kinds.set(blocks, { ...planned, blocks });
      }
    }
  }
  const ofForms = [...forms.values()].map((kinds) => {
    const counts = [...kinds.keys()].sort((a, b) => a - b);
    const [fewest, most] = [counts[0], counts[counts.length - 1]].map((count) => {
      const { parts, blocks } = kinds.get(count)!;
      const schedules = new Map(
        [...new Set(parts)].map((part) => [part, plans.planOf(part)[pass]]),
      );
      return {
        blocks,
        calls: [...schedules.values()].flatMap(({ calls }) => calls),
        step: parts.map((part) => schedules.get(part)!),
      };
    });
    const nodes = sessionNodes(fewest, most, counts);
    if (fewest.blocks === most.blocks) return { steps: [most.step], nodes };
    const more = pass === "training" ? 1 + SIZE_VARIANTS : 1;
    return { steps: [fewest.step, most.step], nodes: nodes * more };
  });
  return {
    steps: ofForms.flatMap(({ steps }) => steps),
    sessionNodes: ofForms.reduce((sum, { nodes }) => sum + nodes, 0),
  };

  function trained(batch: TokenBatch): Omit<Planned, "blocks">[] {
    const { parts, use: divided } = divideBatch(options, batch, use);
    const planned = parts.map((part) => planOptionsFor(options, part, divided));
    // The spans of a sequence differ; of other parts, each may be the largest.
    if (planned[0]?.span !== undefined) return [{ parts: planned }];
    return planned.map((part) => ({ parts: planned.map(() => part) }));
  }
  function evaluated(batch: TokenBatch): Omit<Planned, "blocks"> {
    const prepared = prepare(batch, packingRules(options, {}));
    return { parts: [planOptionsFor(options, prepared, { passes: [pass] })] };
  }
}

/**
 * The kind of all parts that run at the same time: each span has its own sessions, other parts share them.
 */
function kindOf(graph: Graph, { parts }: Omit<Planned, "blocks">): ShapeKind {
  const kinds = [...new Set(parts)].map((part) => shapeKind(graph, part));
  return {
    form: kinds.map(({ form }) => form).join("; "),
    blocks: kinds.reduce((sum, { blocks }) => sum + blocks, 0),
  };
}

const rowsOf = ({ parts }: Omit<Planned, "blocks">) =>
  Math.max(...parts.map(({ packedRows, batch, length }) => packedRows ?? batch * length));
