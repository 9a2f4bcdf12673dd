/** ONNX: read, written, shown, inspected, planned, trained a step and run, as the verbs do. */
import { everythingModel, fileOf } from "../../../../tests/helpers/onnx_messages.ts";
import { decodeModel, encodeModel } from "../../../../src/onnx/mod.ts";
import { type HostileFormat, lazily, RUNNING } from "../format.ts";
import { damaged } from "../mutators/bytes.ts";
import { otherField } from "../mutators/fields.ts";
import { otherLengths } from "../mutators/lengths.ts";
import { type ModelMessage, readModel, writeModel } from "../mutators/messages.ts";
import { otherName } from "../mutators/names.ts";
import { deeper } from "../mutators/nesting.ts";
import { otherNode } from "../mutators/nodes.ts";
import { otherSizes } from "../mutators/sizes.ts";
import { spliced } from "../mutators/splices.ts";
import { closeProbes, probeModel } from "../probes/model.ts";
import { pick, type Random } from "../random.ts";

const MODELS = new URL("../../../../tests/fixtures/models/", import.meta.url).pathname;

/** A model for each way that exporters and quantisers write. */
const SEEDS = [
  ...["tiny-llama-genai-int4", "tiny-llama-torch-fp32", "tiny-bert-dynamic-int8"],
  ...["bert-attention", "bert-qattention", "bert-qdq", "bert-qoperator", "gpt2", "llama-bnb4"]
    .map((name) => `dialects/${name}`),
  ...["llama-int4-zero-points", "llama-qdq-int4", "deberta", "modernbert", "phi", "qwen3"]
    .map((name) => `dialects/${name}`),
];

/** A model with all of its weights inside. */
function whole(name: string): Uint8Array {
  const folder = `${MODELS}${name}`;
  const file = Deno.readFileSync(`${folder}/model.onnx`);
  const model = decodeModel(file, {
    external: ({ location, offset, length }) =>
      Deno.readFileSync(`${folder}/${location}`).subarray(offset, offset + length),
  });
  return encodeModel(model, { external: () => "inline" });
}

const seeds = lazily(() => [
  fileOf(everythingModel()),
  // With its weights outside, in the file that probes have beside them.
  Deno.readFileSync(`${MODELS}${SEEDS[0]}/model.onnx`),
  ...SEEDS.map(whole),
]);

type Change = (model: ModelMessage, random: Random, seeds: readonly Uint8Array[]) => void;

const CHANGES: readonly Change[] = [
  otherField,
  otherName,
  otherSizes,
  otherSizes,
  otherNode,
  otherNode,
  deeper,
  (model, random, seeds) => spliced(model, readModel(pick(random, seeds)), random),
];

/** A well-formed model that says something else in one to three places. */
function changed(seeds: readonly Uint8Array[], random: Random): Uint8Array {
  const model = readModel(pick(random, seeds));
  for (let i = 1 + random(3); i > 0; i--) pick(random, CHANGES)(model, random, seeds);
  return writeModel(model);
}

export const ONNX: HostileFormat = {
  name: "onnx",
  seeds,
  mutate(random, seeds) {
    switch (random(8)) {
      case 0:
        return damaged(seeds, [], random);
      case 1:
        return otherLengths(pick(random, seeds), random);
      default:
        return changed(seeds, random);
    }
  },
  async prepare() {
    for (const seed of seeds().slice(1, 5)) await probeModel(seed);
  },
  probe: probeModel,
  finish: closeProbes,
  limits: RUNNING,
};
