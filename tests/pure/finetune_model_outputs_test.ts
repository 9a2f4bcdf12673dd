import { assertEquals, assertThrows } from "@std/assert";
import { checkScoresTokens, labelsFor } from "../../src/finetune/model_outputs.ts";
import { BadInputError, UsageError } from "../../src/errors.ts";
import type { Dim, Model } from "../../src/graph/types.ts";
import { checkInputs } from "../../src/plan/inputs.ts";
import { tinyModel } from "../helpers/ort.ts";

const scoring = (...shape: Dim[]) =>
  tinyModel({
    inputs: { input_ids: ["int64", ["batch", "sequence"]] },
    outputs: { logits: ["float32", shape] },
    nodes: [["Cast", ["input_ids"], ["logits"]]],
  });

/** The model with an output whose shape the file leaves out. */
const shapeless = ({ graph, ...model }: Model): Model => ({
  ...model,
  graph: { ...graph, outputs: [{ name: "logits", type: { dtype: "float32" } }] },
});

Deno.test("labelsFor() tells why it cannot say which classes a model scores", () => {
  const labels = new Set(["a", "b"]);
  assertEquals(labelsFor(scoring("batch", 2), undefined, labels, "rows"), ["a", "b"]);
  const refused = (model: Model, why: string) =>
    assertThrows(() => labelsFor(model, undefined, labels, "rows"), UsageError, why);
  refused(scoring("batch", "sequence", 2), "scores tokens, not whole texts");
  refused(shapeless(scoring("batch", 2)), "does not say how many");
  refused(scoring("batch", "classes"), "does not say how many");
});

Deno.test("checkScoresTokens() refuses a model that scores the last token alone", () => {
  checkScoresTokens(scoring("batch", "sequence", 32), "rows");
  assertThrows(
    () => checkScoresTokens(scoring("batch", 1, 32), "rows"),
    UsageError,
    "the last token alone",
  );
});

Deno.test("checkInputs() names an input that no batch has anything for", () => {
  const withInput = (name: string, shape: readonly Dim[]) => {
    const { graph } = scoring("batch", 2);
    const input = { name, type: { dtype: "float32", shape } } as const;
    return { ...graph, inputs: [...graph.inputs, input] };
  };
  checkInputs(withInput("past_key_values.0.key", ["batch", 2, "past", 16]));
  for (const [name, shape] of [["use_cache_branch", [1]], ["pixels", ["batch", 3]]] as const) {
    assertThrows(() => checkInputs(withInput(name, shape)), BadInputError, `"${name}"`);
  }
});
