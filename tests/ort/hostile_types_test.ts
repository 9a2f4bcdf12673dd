// Types and attributes that do not fit are the file's fault: raw errors would be taken for graft's.
import { assertEquals, assertRejects } from "@std/assert";
import { decodeModel } from "../../src/onnx/mod.ts";
import { BadInputError, RuntimeFailure } from "../../src/errors.ts";
import {
  type ModelMessage,
  readModel,
  writeModel,
} from "../../scripts/campaigns/hostile/mutators/messages.ts";
import { useModelAlone } from "../../scripts/campaigns/hostile/probes/model.ts";
import { modelDir } from "../helpers/fixture_models.ts";
import { floats, message } from "../helpers/onnx_messages.ts";

type Change = (model: ModelMessage) => void;

const FIXTURES = {
  bert: `${modelDir("tiny-bert-dynamic-int8")}/model.onnx`,
  deberta: `${modelDir("dialects/deberta")}/model.onnx`,
};

const nodeOf = ({ graph }: ModelMessage, opType: string) =>
  graph!.node.find((node) => node.opType === opType)!;

/** Replaces an initializer by strings, or by zeros of another type of `bytes` bytes a number. */
function retype(name: string, dataType: number, bytes = 0): Change {
  return ({ graph }) => {
    const at = graph!.initializer.findIndex((tensor) => tensor.name === name);
    const { dims } = graph!.initializer[at];
    const count = dims.reduce((product, dim) => product * Number(dim), 1);
    const content = bytes > 0
      ? { rawData: new Uint8Array(count * bytes) }
      : { stringData: new Array(count).fill(new Uint8Array([97])) };
    graph!.initializer[at] = message("TensorProto", { name, dataType, dims, ...content });
  };
}

const [FLOAT, STRING] = [1, 8];

const CASES: [what: string, fixture: keyof typeof FIXTURES, change: Change, problem: string][] = [
  [
    "a Constant without a value",
    "bert",
    (model) => {
      const node = nodeOf(model, "GreaterOrEqual");
      [node.opType, node.input, node.attribute] = ["Constant", [], []];
    },
    "needs an attribute with its value",
  ],
  [
    "a Cast to no type",
    "bert",
    (model) => nodeOf(model, "Cast").attribute = [],
    'needs attribute "to"',
  ],
  ["strings for codes", "bert", retype("val_56_quantized", STRING), "no fixed element size"],
  ["floats for codes", "bert", retype("val_56_quantized", FLOAT, 4), "type float32 is not"],
  [
    "zero points for other columns",
    "bert",
    ({ graph }) => {
      const zeros = graph!.initializer.find(({ name }) => name === "val_122_zero_point")!;
      [zeros.dims, zeros.int32Data, zeros.rawData] = [[64n], [], new Uint8Array(64)];
    },
    "do not fit",
  ],
  [
    "a weight that is named like an adapter's",
    "deberta",
    ({ graph }) => {
      const name = "deberta.encoder.layer.0.attention.self.query_proj.lora_A.weight";
      graph!.initializer.push(floats(name, [1], [1]));
    },
    "the graph has one already",
  ],
];

Deno.test("useModelAlone() puts a sound model to every use", async () => {
  const model = decodeModel(Deno.readFileSync(FIXTURES.bert));
  const uses = ["write", "inspect", "merge", "run", "train"];
  assertEquals(await useModelAlone(model, 1 << 16), uses);
});

for (const [what, fixture, change, problem] of CASES) {
  Deno.test(`a model with ${what} is the file's fault in all that is done with it`, async () => {
    const model = readModel(Deno.readFileSync(FIXTURES[fixture]));
    change(model);
    const bytes = writeModel(model);
    await assertRejects(
      () => useModelAlone(decodeModel(bytes), bytes.byteLength),
      BadInputError,
      problem,
    );
  });
}

Deno.test("a model that ONNX Runtime alone refuses is refused where it is run", async () => {
  const model = readModel(Deno.readFileSync(FIXTURES.bert));
  retype("m.bert.embeddings.word_embeddings.weight_quantized", FLOAT, 4)(model);
  const bytes = writeModel(model);
  await assertRejects(
    () => useModelAlone(decodeModel(bytes), bytes.byteLength),
    RuntimeFailure,
    'Cannot compile "model.onnx"',
  );
});
