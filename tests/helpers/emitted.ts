/** Runs graphs of graft's own operators as a step's calls run them. */
import { GraphBuilder } from "../../src/graph/builder.ts";
import { type Tensor, toNumbers } from "../../src/graph/tensor.ts";
import { inferTraining, TRAINING_OPSETS } from "../../src/ops/registry.ts";
import { callOf, type CallOptions } from "../../src/plan/call.ts";
import type { Runner } from "../../src/runtime/runner.ts";

/**
 * @param inputs by the name that `emit` knows them by
 * @param emit gives the values to compute
 * @param options of the call
 * @returns their numbers, in that order
 */
export async function runEmitted(
  runner: Runner,
  inputs: Readonly<Record<string, Tensor>>,
  emit: (b: GraphBuilder) => readonly string[],
  options: CallOptions = {},
): Promise<readonly ArrayLike<number>[]> {
  const b = new GraphBuilder(inferTraining);
  for (const [name, { dtype, dims }] of Object.entries(inputs)) b.input(name, dtype, dims);
  const values = emit(b);
  const { graph, feeds, fetches } = callOf(
    b,
    "test",
    new Map(values.map((name) => [name, name])),
    options,
  );
  using session = await runner.compile({
    irVersion: 10,
    opsets: TRAINING_OPSETS,
    graph,
    metadata: {},
  });
  const results = await session.run(
    Object.fromEntries(
      [...feeds].map(([canonical, name]) => [canonical, runner.upload(inputs[name])]),
    ),
  );
  const found = new Map(
    [...fetches].map(([canonical, name]) => [name, toNumbers(results[canonical].read())]),
  );
  return values.map((name) => found.get(name)!);
}
