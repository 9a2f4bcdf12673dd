/**
 * What docs/design/planning.md prints: the graph of a model of two layers after each pass of planning,
 * and the plan that comes of it.
 *
 * A line `<!-- KIND: PASS, PART -->` in the page says what the block of code after it holds:
 *
 * - `graph: PASS, PART`: the nodes after a pass; `model` stands for the model with its adapters
 * - `change: PASS, PART`: what a pass has removed and added; `change in fast` in that setting
 * - `plan`: the plan, as `graft inspect --plan` prints it
 * - `calls`: how many nodes the step's calls have after each pass over them
 */
import { formatGraph } from "../../src/graph/print.ts";
import type { Graph } from "../../src/graph/types.ts";
import { formatPlan } from "../../src/cli/models/plan_report.ts";
import { arithmeticOf, type ArithmeticSettings } from "../../src/plan/arithmetic.ts";
import { CALL_PASSES } from "../../src/plan/call_passes.ts";
import { describePlan } from "../../src/plan/describe_plan.ts";
import { planTraining, type TrainingPlan } from "../../src/plan/plan.ts";
import type { PassControl } from "../../src/plan/planning_pass.ts";
import { adapted } from "./training_step.ts";
import { twoLayers } from "./two_layers.ts";

/** Where the page lies. */
export const PLANNING_PAGE = new URL("../../docs/design/planning.md", import.meta.url);

/** Parts of the graph, by the value at which each ends. */
const PARTS = { "first layer": "x1", "second layer": "x2", "end": undefined } as const;
type Part = keyof typeof PARTS;

const BLOCK = /<!-- ([a-z ]+)(?:: ([a-z-]+), ([a-z ]+))? -->\n\n```text\n[^]*?```/g;

/** The page with what its blocks hold, printed anew. */
export function printedPage(page: string): string {
  const [exact, fast] = [planned(EXACT), planned(FAST)];
  return page.replace(BLOCK, (whole, kind: string, pass?: string, part?: string) => {
    const [marker] = whole.split("\n");
    return `${marker}\n\n\`\`\`text\n${linesOf(kind, pass, part).join("\n")}\n\`\`\``;
  });

  function linesOf(kind: string, pass = "", part = ""): readonly string[] {
    const of = ({ graphs }: Planned, name: string) => {
      const found = graphs.get(name);
      if (found === undefined) throw new RangeError(`No pass is named "${name}"`);
      return part.split(" and ").flatMap((one) => {
        if (one in PARTS) return nodesOf(found, one as Part);
        throw new RangeError(`No part of the graph is named "${one}"`);
      });
    };
    const change = (plan: Planned) => {
      const names = [...plan.graphs.keys()];
      return changeOf(of(plan, names[names.indexOf(pass) - 1]), of(plan, pass));
    };
    switch (kind) {
      case "graph":
        return of(exact, pass);
      case "change":
        return change(exact);
      case "change in fast":
        return change(fast);
      case "plan":
        return exact.text;
      case "calls":
        return nodesAfterCallPasses();
      default:
        throw new RangeError(`No block is named "${kind}"`);
    }
  }
}

interface Planned {
  /** After each pass, in their order, the first being the model's. */
  readonly graphs: ReadonlyMap<string, Graph>;
  readonly text: readonly string[];
}

const EXACT: ArithmeticSettings = { dequantForm: "arithmetic", readyWeights: true };
const FAST: ArithmeticSettings = { numeric: "fast" };

function planned(how: ArithmeticSettings): Planned {
  const graphs = new Map<string, Graph>();
  const plan = planOf(how, {
    onPass: ({ pass, graph, label }) => {
      if (label === undefined) graphs.set(pass, graph);
    },
  });
  return {
    graphs: new Map([["model", adaptedModel().model.graph], ...graphs]),
    text: formatPlan(describePlan(plan), 1),
  };
}

function planOf(how: ArithmeticSettings, passControl: PassControl): TrainingPlan {
  const { model, trainable } = adaptedModel();
  return planTraining(model, {
    ...{ batch: 2, length: 8, targetRows: 6, packedRows: 12, trainable },
    ...{ keepBytes: 1e6, headChunk: 40, passes: ["training"], inTiles: true },
    arithmetic: arithmeticOf(how),
    passControl,
  });
}

const adaptedModel = () => adapted(twoLayers(), { targetModules: ["q_proj", "v_proj"] });

/** How many nodes a step's calls have with the passes over them up to each. */
function nodesAfterCallPasses(): readonly string[] {
  const names = CALL_PASSES.map(({ name }) => name);
  const count = (how: ArithmeticSettings, passes: number) =>
    planOf(how, { without: new Set(names.slice(passes)) }).training.calls
      .reduce((sum, { graph }) => sum + graph.nodes.length, 0);
  return ["(as expanded)", ...names].map((name, passes) =>
    `${name.padEnd(18)} ${count(EXACT, passes)} in exact, ${count(FAST, passes)} in fast`
  );
}

/** A part's nodes, a line each. */
function nodesOf(graph: Graph, part: Part): readonly string[] {
  const nodes = formatGraph(graph).split("\n").filter((line) => / = [\w.]+\(/.test(line))
    .map((line) => line.trim().replace(/ {2}# ".*"$/, ""));
  const endOf = (value: string | undefined) =>
    value === undefined
      ? nodes.length
      : 1 + nodes.findLastIndex((line) =>
        line.startsWith(`${value} = `) || line.startsWith(`${value}: `) ||
        line.startsWith(`${value}.`)
      );
  const names = Object.keys(PARTS) as Part[];
  const before = names[names.indexOf(part) - 1];
  return nodes.slice(before === undefined ? 0 : endOf(PARTS[before]), endOf(PARTS[part]));
}

/** Lines that were removed and added, by a longest common subsequence. */
function changeOf(before: readonly string[], after: readonly string[]): readonly string[] {
  const longest = Array.from(
    { length: before.length + 1 },
    () => new Uint16Array(after.length + 1),
  );
  for (let i = before.length - 1; i >= 0; i--) {
    for (let j = after.length - 1; j >= 0; j--) {
      longest[i][j] = before[i] === after[j]
        ? longest[i + 1][j + 1] + 1
        : Math.max(longest[i + 1][j], longest[i][j + 1]);
    }
  }
  const lines: string[] = [];
  let [i, j] = [0, 0];
  while (i < before.length || j < after.length) {
    if (before[i] !== undefined && before[i] === after[j]) [i, j] = [i + 1, j + 1];
    else if (j === after.length || i < before.length && longest[i + 1][j] >= longest[i][j + 1]) {
      lines.push(`- ${before[i++]}`);
    } else lines.push(`+ ${after[j++]}`);
  }
  return lines.length === 0 ? ["(nothing)"] : lines;
}
