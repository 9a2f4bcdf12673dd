/**
 * The speed that one long sequence can have at most beside several short ones of as many tokens, by the
 * operations of their products alone: those with weights are the same for every token, those of causal
 * attention grow with the length. Masked scores and softmax cost nothing here. Prints a JSON line.
 *
 * usage: deno run -A scripts/figures/attention_share.ts [MODEL.onnx] (default: SmolLM2 in ../shared)
 */
import { findModules } from "../../src/lora/modules.ts";
import { loadOnnx } from "../../src/model/load_onnx.ts";

const [LONG, SHORT] = [1024, 256];
/** Of the same size as the forward pass's: those of the cotangents; the base is frozen. */
const WITH_WEIGHTS = 2;
/** Scores and values forward, and the cotangents of both factors of each. */
const OF_ATTENTION = 6;
/** How much longer products with weights take in `exact` than in `fast`. */
const FAST_GAIN = 2;

const path = Deno.args[0] ?? "../shared/models/smollm2-135m-instruct-int4/model.onnx";
using base = loadOnnx(path);
const modules = findModules(base.model);
const weights = modules.reduce(
  (sum, { inFeatures, outFeatures }) => sum + inFeatures * outFeatures,
  0,
);
const width = modules.filter(({ path }) => path.endsWith(".q_proj"))
  .reduce((sum, { outFeatures }) => sum + outFeatures, 0);
const linear = WITH_WEIGHTS * 2 * weights;
/** Of each token, which sees half of the others in the mean. */
const attention = (length: number) => OF_ATTENTION * 2 * width * length / 2;
const atMost = (gain: number) =>
  (linear / gain + attention(SHORT)) / (linear / gain + attention(LONG));
const millions = (operations: number) => Math.round(operations / 1e6);
console.log(JSON.stringify({
  model: path,
  millionOperationsPerToken: {
    withWeights: millions(linear),
    [`attention${SHORT}`]: millions(attention(SHORT)),
    [`attention${LONG}`]: millions(attention(LONG)),
  },
  exactAtMost: Number(atMost(1).toFixed(3)),
  fastAtMost: Number(atMost(FAST_GAIN).toFixed(3)),
}));
