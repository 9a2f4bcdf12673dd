/** A processor whose products of unsigned by signed 8-bit integers saturate, on any other one. */
import { float32 } from "../../src/graph/tensor.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";

/**
 * A runner of one thread on which the largest products are found to come out halved. What else it
 * computes is right, so that a test sees what is chosen, not what saturating would do.
 */
export function saturatingRunner() {
  const runner = createOrtRunner({ threads: 1 });
  const compile = runner.compile.bind(runner);
  runner.compile = (model, options) => {
    const { graph } = model;
    if (graph.name !== "largest uint8 by int8") return compile(model, options);
    const initializers = new Map([...graph.initializers, ["one", float32([], [0.5])]]);
    return compile({ ...model, graph: { ...graph, initializers } }, options);
  };
  return runner;
}
