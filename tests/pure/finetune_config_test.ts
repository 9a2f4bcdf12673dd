import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { TRAIN_FLAGS } from "../../src/cli/train/train_flags.ts";
import type { Parameter } from "../../src/config/parameter.ts";
import { asFlag } from "../../src/config/parameter.ts";
import { ParameterError } from "../../src/errors.ts";
import { FINE_TUNE_PARAMETERS, type FineTuneInput, resolveConfig } from "../../src/finetune/mod.ts";

const MINIMUM = { model: "m", data: "d" };

Deno.test("resolveConfig() needs a model and data alone, and fills in the rest", () => {
  const config = resolveConfig(MINIMUM);
  const { rank, loraAlpha, targetModules, learningRate, batchSize, numeric } = config;
  assertEquals([rank, loraAlpha, targetModules], [8, 16, ["q", "v"]]);
  assertEquals([learningRate, batchSize, numeric], [2e-4, 4, "exact"]);
  assertEquals([config.epochs, config.iters, config.memoryBudget], [
    undefined,
    undefined,
    undefined,
  ]);
  assertEquals(resolveConfig(config), config);
});

Deno.test("resolveConfig() names the parameters of a start that contradict each other", () => {
  const fails = (more: Partial<FineTuneInput>, message: string) =>
    assertThrows(() => resolveConfig({ ...MINIMUM, ...more }), ParameterError, message);
  fails({ initLoraWeights: "eva" }, "initLoraWeights must be one of kaiming, gaussian, orthogonal");
  fails({ initLoraWeights: "loftq" }, "loftq needs the model before it was quantised");
  fails({ loftqModel: "float" }, "loftqModel is only read by");
  fails(
    { initLoraWeights: "pissa", adapterType: ["scales", "houlsby"] },
    "which adapterType: scales,houlsby has not",
  );
  fails({ optimizer: "lorafa", adapterType: ["houlsby"] }, "lorafa trains B of LoRA");
  fails({ optimizer: "lorafa", useDora: true }, "freezeA: true trains DoRA without A");
  fails({ optimizer: "lorafa", loraplusLrRatio: 2 }, "lorafa does not train");
  assertEquals(resolveConfig({ ...MINIMUM, optimizer: "lorafa" }).freezeA, true);
  resolveConfig({ ...MINIMUM, initLoraWeights: "gaussian", adapterType: ["scales"] });
});

/** Values that are none of a parameter's. */
function* wrongValues({ kind, min, max, choices }: Parameter): Generator<unknown> {
  yield kind === "list" || kind === "map" ? 7 : {};
  if (kind === "number" || kind === "integer") yield NaN;
  if (kind === "integer") yield 2.5;
  if (min !== undefined) yield min - 1;
  if (max !== undefined) yield max + 1;
  if (choices !== undefined) yield kind === "list" ? ["no choice"] : "no choice";
  if (kind === "list") yield [{}];
  if (kind === "map") yield { q: "8" };
}

for (const [key, parameter] of Object.entries(FINE_TUNE_PARAMETERS)) {
  Deno.test(`resolveConfig() names ${key} where its value is none`, () => {
    let tried = 0;
    for (const value of wrongValues(parameter)) {
      const input = { ...MINIMUM, [key]: value } as FineTuneInput;
      const error = assertThrows(() => resolveConfig(input), ParameterError, key);
      assertEquals([error.parameter, error.exitCode], [key, 2]);
      assertStringIncludes(error.worded(asFlag), `${asFlag(key)}`);
      tried++;
    }
    assert(tried > 0);
  });
}

const CONTRADICTIONS: readonly (readonly [Partial<FineTuneInput>, string, string])[] = [
  [{ useDora: true, adapterType: ["scales"] }, "useDora", "useDora: true trains magnitudes beside"],
  [{ train: false }, "train", "train: false needs test: true"],
  [{ epochs: 1, iters: 2 }, "epochs", "Give epochs or iters, not both: current values are 1 and 2"],
  [{ memoryBudget: "much" }, "memoryBudget", "memoryBudget must be a size like 512M"],
  [{ prefixCache: "-1" }, "prefixCache", "prefixCache must be a size like 512M"],
  [{ window: "all day" }, "window", "window must be two times of the day"],
  [{ layers: "3-1" }, "layers", "numbers and ranges like 0-3,8"],
  [{ saveAs: "a/b/c" }, "saveAs", "An adapter's name must be"],
  [{ learningrate: 1 } as Partial<FineTuneInput>, "learningrate", 'did you mean "learningRate"?'],
];

for (const [given, parameter, message] of CONTRADICTIONS) {
  Deno.test(`resolveConfig() names ${parameter}: ${message}`, () => {
    const error = assertThrows(
      () => resolveConfig({ ...MINIMUM, ...given }),
      ParameterError,
      message,
    );
    assertEquals(error.parameter, parameter);
  });
}

Deno.test("resolveConfig() names data that is missing", () => {
  const error = assertThrows(
    () => resolveConfig({ model: "m" } as FineTuneInput),
    ParameterError,
    "data is missing",
  );
  assertEquals(error.parameter, "data");
});

Deno.test("the flags of graft train are the configuration's parameters, in their order", () => {
  const { config: _, ...flags } = TRAIN_FLAGS;
  assertEquals(Object.keys(flags), Object.keys(FINE_TUNE_PARAMETERS));
  for (const [key, parameter] of Object.entries(FINE_TUNE_PARAMETERS)) {
    const flag: Parameter = flags[key as keyof typeof flags];
    for (const [what, value] of Object.entries(parameter)) {
      assertEquals(flag[what as keyof Parameter], value, `${what} of ${key}`);
    }
  }
});
