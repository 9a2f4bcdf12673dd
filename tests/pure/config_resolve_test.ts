import { assertEquals, assertThrows } from "@std/assert";
import { asFlag, type Parameters } from "../../src/config/parameter.ts";
import { resolveParameters } from "../../src/config/resolve.ts";
import { GraftError, ParameterError } from "../../src/errors.ts";

const PARAMETERS: Parameters = {
  model: { kind: "text", required: true },
  batchSize: { kind: "integer", default: 4, min: 1, max: 64 },
  learningRate: { kind: "number", default: 1e-4, min: 0 },
  optimizer: { kind: "text", choices: ["adamw", "sgd"], default: "adamw" },
  shuffle: { kind: "boolean", default: true },
  targetModules: { kind: "list" },
  rankPattern: { kind: "map", default: {} },
};

Deno.test("resolveParameters() fills in the defaults of what is not given", () => {
  const values = resolveParameters(PARAMETERS, { model: "m", batchSize: 8, shuffle: undefined });
  assertEquals(values, {
    model: "m",
    batchSize: 8,
    learningRate: 1e-4,
    optimizer: "adamw",
    shuffle: true,
    targetModules: undefined,
    rankPattern: {},
  });
});

const BAD: readonly (readonly [Record<string, unknown>, string])[] = [
  [{ model: undefined }, "model is missing"],
  [{ batchSize: 0 }, "batchSize must be >= 1: current value is 0"],
  [{ batchSize: 65 }, "batchSize must be <= 64: current value is 65"],
  [{ batchSize: 1.5 }, "batchSize must be a whole number: current value is 1.5"],
  [{ learningRate: "0.1" }, 'learningRate must be a number: current value is "0.1"'],
  [{ learningRate: NaN }, "learningRate must be a number"],
  [{ optimizer: "adam" }, 'optimizer must be one of adamw, sgd: current value is "adam"'],
  [{ shuffle: "no" }, 'shuffle must be true or false: current value is "no"'],
  [{ targetModules: "q,v" }, 'targetModules must be a list: current value is "q,v"'],
  [{ targetModules: [1] }, "targetModules must be a list"],
  [{ rankPattern: { q: "4" } }, 'rankPattern: q must be a number: current value is "4"'],
  [{ batchsize: 4 }, 'Unknown parameter "batchsize"; did you mean "batchSize"?'],
  [{ constructor: 4 }, 'Unknown parameter "constructor"'],
];

for (const [given, message] of BAD) {
  const [parameter] = Object.keys(given);
  Deno.test(`resolveParameters() names ${parameter}: ${message}`, () => {
    const error = assertThrows(
      () => resolveParameters(PARAMETERS, { model: "m", ...given }),
      ParameterError,
      message,
    );
    assertEquals([error.parameter, error.exitCode], [parameter, 2]);
  });
}

Deno.test("GraftError.worded() names parameters as its readers know them", () => {
  const error = new GraftError(
    (name) => `${name("train", false)} needs ${name("valBatches", 3)}`,
    2,
  );
  assertEquals(error.message, "train: false needs valBatches: 3");
  assertEquals(error.worded(asFlag), "--no-train needs --val-batches 3");
  assertEquals(new GraftError("plain", 1).worded(asFlag), "plain");
});
