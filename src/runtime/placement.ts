/** Counts the nodes that each execution provider runs, and those that fall back to the CPU. */
import { SHAPE_ARITHMETIC } from "../ops/schema/shape_arithmetic.ts";
import { nodeRuns } from "./profile_nodes.ts";
import { shortName } from "./provider_choice.ts";

/** Numbers of nodes by operator, by provider as ORT lists it. */
export type Placement = ReadonlyMap<string, ReadonlyMap<string, number>>;

/** @param nodes as a session assigned them */
export function countPlacement(
  nodes: Iterable<{ readonly provider: string; readonly operator: string }>,
): Placement {
  const placement = new Map<string, Map<string, number>>();
  for (const { provider, operator } of nodes) {
    const operators = placement.get(provider) ?? new Map<string, number>();
    operators.set(operator, (operators.get(operator) ?? 0) + 1);
    placement.set(provider, operators);
  }
  return placement;
}

/** @param profile text that ONNX Runtime wrote of one run */
export function placementOfProfile(profile: string): Placement {
  return countPlacement(
    nodeRuns(profile).flatMap(({ operator, provider }) => provider ? [{ operator, provider }] : []),
  );
}

/** Copies that ORT inserts between providers, which are not part of the graph. */
const COPIES = new Set(["MemcpyFromHost", "MemcpyToHost"]);

/** Number of operators that are listed by name. */
const LISTED = 8;

/**
 * Describes several graphs' placement for the user: a line for each provider, then the reasons for nodes
 * that fell back, if they are visible from outside.
 *
 * @param wanted requested providers, best first, as ORT lists them
 */
export function describePlacement(
  placements: readonly Placement[],
  wanted: readonly string[],
): readonly string[] {
  const nodes = new Map<string, Map<string, number>>();
  let copies = 0;
  for (const placement of placements) {
    for (const [provider, operators] of placement) {
      for (const [operator, count] of operators) {
        if (COPIES.has(operator)) {
          copies += count;
          continue;
        }
        const own = nodes.get(provider) ?? new Map<string, number>();
        own.set(operator, (own.get(operator) ?? 0) + count);
        nodes.set(provider, own);
      }
    }
  }
  const sum = (operators: ReadonlyMap<string, number> | undefined) =>
    [...operators?.values() ?? []].reduce((a, b) => a + b, 0);
  const total = [...nodes.values()].reduce((all, operators) => all + sum(operators), 0);
  const graphs = placements.length === 1 ? "1 graph" : `${placements.length} graphs`;
  const asked = new Set(wanted.map(shortName));
  const listed = new Map([...nodes].map(([provider, own]) => [shortName(provider), own]));
  const providers = new Set([...asked, ...listed.keys()]);
  const lines = [...providers].map((provider) => {
    const count = sum(listed.get(provider));
    const share = total === 0 ? 0 : Math.round(100 * count / total);
    const line = `${provider} runs ${count} of ${total} nodes (${share}%) of ${graphs}`;
    return asked.has(provider) ? line : `${line}: ${listOperators(listed.get(provider)!)}`;
  });
  const left = [...listed].filter(([provider]) => !asked.has(provider))
    .flatMap(([, operators]) => [...operators.keys()]);
  if (left.length === 0) return lines;
  const shapes = left.filter((operator) => SHAPE_ARITHMETIC.has(operator));
  const others = left.filter((operator) => !SHAPE_ARITHMETIC.has(operator));
  const first = shortName(wanted[0]);
  if (others.length > 0) {
    lines.push(
      `  ${
        others.toSorted().join(", ")
      }: this release's ${first} has no kernel for the operator, ` +
        "or none for its types",
    );
  }
  if (shapes.length > 0) {
    lines.push(
      `  ${shapes.toSorted().join(", ")}: on shapes and indices ONNX Runtime keeps them on the ` +
        `processor on purpose; elsewhere ${first} has no kernel for their types`,
    );
  }
  if (copies > 0) lines.push(`  copies between processor and device in every run: ${copies}`);
  lines.push("  GRAFT_ORT_LOG=info prints ONNX Runtime's reason for each node");
  return lines;
}

/** `Gather 12, Shape 4 and 7 of 3 other operators`, the most frequent first. */
function listOperators(operators: ReadonlyMap<string, number>): string {
  const sorted = [...operators].toSorted(([, a], [, b]) => b - a);
  const shown = sorted.slice(0, LISTED).map(([operator, count]) => `${operator} ${count}`);
  const rest = sorted.slice(LISTED);
  const nodes = rest.reduce((all, [, count]) => all + count, 0);
  const others = rest.length === 0 ? "" : ` and ${nodes} of ${rest.length} other operators`;
  return shown.join(", ") + others;
}
