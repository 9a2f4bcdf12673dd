// Names of a file are keys of nothing that inherits: every object of JavaScript has a `constructor`.
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { decodeModel } from "../../src/onnx/mod.ts";
import { BadInputError, UsageError } from "../../src/errors.ts";
import { int64 } from "../../src/graph/tensor.ts";
import { findModules } from "../../src/lora/modules.ts";
import { resolveTargets } from "../../src/lora/targets.ts";
import { DEFAULT_LORA } from "../../src/lora/config.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { chooseProviders } from "../../src/runtime/provider_choice.ts";
import { parseConfig } from "../../src/config/file.ts";
import { FINE_TUNE_PARAMETERS } from "../../src/finetune/parameters.ts";
import { readModel, writeModel } from "../../scripts/campaigns/hostile/mutators/messages.ts";
import { OBJECT_WORDS } from "../../scripts/campaigns/hostile/mutators/words.ts";
import { useModelAlone } from "../../scripts/campaigns/hostile/probes/model.ts";
import { modelDir } from "../helpers/fixture_models.ts";

const FILE = Deno.readFileSync(`${modelDir("tiny-bert-dynamic-int8")}/model.onnx`);

/** The model with as many of its values as there are words named after what all objects inherit. */
function renamed(): Uint8Array {
  const model = readModel(FILE);
  const graph = model.graph!;
  const values = [
    ...graph.node.slice(0, OBJECT_WORDS.length).map(({ output: [name] }) => name),
    ...graph.initializer.map(({ name }) => name),
  ];
  // Every other word is a weight's.
  const names = new Map(
    OBJECT_WORDS.map((word, i) => [values[i % 2 === 0 ? i : values.length - i], word]),
  );
  const other = (name: string) => names.get(name) ?? name;
  for (const node of graph.node) {
    node.input = node.input.map(other);
    node.output = node.output.map(other);
  }
  for (const named of [...graph.initializer, ...graph.valueInfo]) named.name = other(named.name);
  return writeModel(model);
}

Deno.test("a model whose values are named after what all objects inherit trains, merges and runs", async () => {
  const bytes = renamed();
  await useModelAlone(decodeModel(bytes), bytes.byteLength + 4 - bytes.byteLength % 4);
});

for (const word of ["constructor", "toString", "__proto__"]) {
  Deno.test(`an operator named ${word} is one that is not supported`, async () => {
    const model = readModel(FILE);
    for (const node of model.graph!.node) if (node.opType === "Softmax") node.opType = word;
    const bytes = writeModel(model);
    const error = await assertRejects(
      () => useModelAlone(decodeModel(bytes), bytes.byteLength),
      BadInputError,
    );
    assert(error.message.includes(`operator ${word} is not supported`), error.message);
  });

  Deno.test(`an operator set of a domain named ${word} is no version of others`, async () => {
    const model = readModel(FILE);
    for (const node of model.graph!.node) if (node.opType === "Softmax") node.domain = word;
    const bytes = writeModel(model);
    await assertRejects(() => useModelAlone(decodeModel(bytes), bytes.byteLength), BadInputError);
  });

  Deno.test(`--target-modules ${word} names no module`, () => {
    const modules = findModules(decodeModel(FILE));
    assertThrows(
      () => resolveTargets(modules, { ...DEFAULT_LORA, targetModules: [word] }),
      UsageError,
      `Cannot inject LoRA at "${word}"`,
    );
  });

  Deno.test(`a configuration with ${word} has an unknown key`, () => {
    for (const text of [`${word}: 1`, `lora_parameters:\n  ${word}: 1`]) {
      assertThrows(
        () => parseConfig(text, FINE_TUNE_PARAMETERS, "run.yaml"),
        UsageError,
        `Unknown key "${word}"`,
      );
    }
  });

  Deno.test(`an lr_schedule named ${word} is none, and neither is a provider`, () => {
    const text = `lr_schedule:\n  name: ${word}`;
    const shown = `current value is "${word}"`;
    assertThrows(() => parseConfig(text, FINE_TUNE_PARAMETERS, "run.yaml"), UsageError, shown);
    const trial = {
      library: { path: "libonnxruntime.so", version: "1.24.0" },
      available: ["CPUExecutionProvider"],
      hasGpu: false,
      defaults: () => ({}),
      failure: () => undefined,
      note: () => {},
    };
    const wish = { names: [word], options: [] };
    assertThrows(() => chooseProviders(wish, trial), UsageError, `no provider "${word}"`);
  });

  Deno.test(`a run is fed, and gives, a value named ${word}`, async () => {
    const value = { name: word, type: { dtype: "int64", shape: [2] } } as const;
    const output = { ...value, name: `${word}.out` };
    using runner = createOrtRunner({ threads: 1, logLevel: "fatal" });
    using executable = await runner.compile({
      irVersion: 8,
      opsets: { "": 17 },
      metadata: {},
      graph: {
        name: "g",
        inputs: [value],
        outputs: [output, { ...value, name: "toLocaleString" }],
        initializers: new Map(),
        nodes: [output.name, "toLocaleString"].map((name) => ({
          name,
          opType: "Neg",
          domain: "",
          inputs: [word],
          outputs: [name],
          attributes: {},
        })),
        valueInfo: new Map(),
      },
    });
    using x = runner.upload(int64([2], [1, 2]));
    const feeds = Object.fromEntries([[word, x]]);
    const made = await executable.run(feeds);
    assertEquals(Object.keys(made), [output.name, "toLocaleString"]);
    for (const tensor of Object.values(made)) {
      assertEquals(tensor.read(), int64([2], [-1, -2]));
      tensor[Symbol.dispose]();
    }
    await assertRejects(() => executable.run({}), UsageError, `the input "${word}" is not fed`);
  });
}
