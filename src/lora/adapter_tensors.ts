/** PEFT's `adapter_model.safetensors`: tensors by module path. */
import { BadInputError } from "../errors.ts";
import { isFloating } from "../graph/dtype.ts";
import { float32, type Tensor, toNumbers } from "../graph/tensor.ts";
import { BOTTLENECK_PARTS, type BottleneckPart } from "./bottleneck/config.ts";
import { type BottleneckWeights, checkedBottleneck } from "./bottleneck/weights.ts";
import { loraName } from "./inject.ts";
import { magnitudeName } from "./low_rank_parts.ts";
import type { LoraWeights } from "./lora_weights.ts";
import type { AdapterType } from "./peft_config.ts";
import { scalesName } from "./scale_adapter.ts";
import type { VectorPart } from "./trainable.ts";
import type { VectorMethod } from "./vectors/methods.ts";
import type { TrainedVectors } from "./vectors/train.ts";

/** Tensors of a module trained in full: weight [out, in], bias [out] if it has one. */
export interface SavedModule {
  /** [out, in]. */
  readonly weight: Tensor;
  /** [out]. */
  readonly bias?: Tensor;
}

/** The content of `adapter_model.safetensors`, by module path. */
export interface AdapterTensors {
  /** A and B, of the weights or of their scales, with DoRA's magnitudes. */
  readonly lora: ReadonlyMap<string, LoraWeights>;
  /** Modules that were trained in full, by path. */
  readonly saved: ReadonlyMap<string, SavedModule>;
  /** Bottleneck adapters, by the path of the layer that they follow. */
  readonly bottlenecks?: ReadonlyMap<string, BottleneckWeights>;
  /** Values of virtual tokens as PEFT stores them, [tokens, columns]. */
  readonly promptEmbeddings?: Tensor;
  /** Trained biases, and weights of normalisations, [n], by `<path>.bias` and `<path>.weight`. */
  readonly vectors?: TrainedVectors;
}

/** PEFT's prefix of every module path. */
const PREFIX = "base_model.model.";
/** PEFT's prefix in adapters of virtual tokens alone, which wrap no modules. */
const BARE_PREFIX = "base_model.";
/** PEFT's name of the values of virtual tokens. */
const PROMPT = "prompt_embeddings";

/** Names of an adapter's matrices, after PEFT's prefix. */
const NAMES: Readonly<Record<AdapterType, typeof loraName>> = {
  lora: loraName,
  scales: scalesName,
};

/** Tensors under the names by which PEFT loads them; those of scale adapters under graft's own. */
export function peftTensors(
  { lora, saved, bottlenecks = new Map(), promptEmbeddings, vectors = new Map() }: AdapterTensors,
  type: AdapterType = "lora",
  vectorMethod?: VectorMethod,
): ReadonlyMap<string, Tensor> {
  const tensors = new Map<string, Tensor>();
  for (const [path, { a, b, magnitude }] of lora) {
    tensors.set(PREFIX + NAMES[type](path, "A"), a);
    tensors.set(PREFIX + NAMES[type](path, "B"), b);
    if (magnitude !== undefined) tensors.set(PREFIX + magnitudeName(path), magnitude);
  }
  const wraps = promptEmbeddings === undefined || lora.size + bottlenecks.size > 0;
  const before = wraps ? PREFIX : BARE_PREFIX;
  for (const [path, { weight, bias }] of saved) {
    tensors.set(`${before}${path}.weight`, weight);
    if (bias !== undefined) tensors.set(`${before}${path}.bias`, bias);
  }
  for (const [name, vector] of vectors) {
    const [, path, which] = /^(.*)\.(weight|bias)$/.exec(name)!;
    const layer = vectorMethod === "ln_tuning"
      ? ".ln_tuning_layers"
      : lora.has(path)
      ? ".base_layer"
      : "";
    tensors.set(`${PREFIX}${path}${layer}.${which}`, vector);
  }
  if (promptEmbeddings !== undefined) tensors.set(PROMPT, promptEmbeddings);
  for (const [path, parts] of bottlenecks) {
    for (const part of BOTTLENECK_PARTS) tensors.set(`${PREFIX}${path}.${part}`, parts[part]);
  }
  return tensors;
}

type Part = "A" | "B" | "magnitude" | "weight" | "bias" | BottleneckPart | VectorPart;

/**
 * Sorts PEFT's tensors by module, as float32.
 *
 * @throws {BadInputError} for A without B, ranks that differ between them, and tensors of other kinds
 */
export function adapterTensors(
  tensors: ReadonlyMap<string, Tensor>,
  file = "adapter_model.safetensors",
  type: AdapterType = "lora",
): AdapterTensors {
  const bad = (problem: string) => new BadInputError(`${file}: ${problem}`);
  const modules = new Map<string, Partial<Record<Part, Tensor>>>();
  const prompt = tensors.get(PROMPT);
  const promptEmbeddings = prompt && asFloat32(PROMPT, prompt, bad);
  for (const [name, tensor] of tensors) {
    // With `bias: all`, PEFT also saves the biases that modules to save had before.
    if (name === PROMPT || name.endsWith(".original_module.bias")) continue;
    const { path, part } = partOf(name, type, bad);
    const module = modules.get(path) ?? {};
    if (module[part] !== undefined) throw bad(`module "${path}" has ${part} twice`);
    module[part] = asFloat32(name, tensor, bad);
    modules.set(path, module);
  }
  if (modules.size === 0 && prompt === undefined) throw bad("it holds no tensors");
  const lora = new Map<string, LoraWeights>();
  const saved = new Map<string, SavedModule>();
  const bottlenecks = new Map<string, BottleneckWeights>();
  const vectors = new Map<string, Tensor>();
  for (const [path, { A, B, magnitude, weight, bias, ...others }] of modules) {
    const { "vector weight": scale, "vector bias": shift = bias, ...parts } = others;
    if (scale !== undefined) vectors.set(`${path}.weight`, scale);
    if (A !== undefined || B !== undefined) {
      lora.set(path, withMagnitude(path, pair(path, A, B, type, bad), magnitude, bad));
    } else if (magnitude !== undefined) {
      throw bad(`module "${path}" has lora_magnitude_vector without lora_A and lora_B`);
    }
    if (weight !== undefined) saved.set(path, savedModule(path, weight, bias, bad));
    else if (shift !== undefined) vectors.set(`${path}.bias`, shift);
    if (Object.keys(parts).length > 0) bottlenecks.set(path, checkedBottleneck(path, parts));
  }
  return {
    ...{ lora, saved },
    ...(bottlenecks.size === 0 ? {} : { bottlenecks }),
    ...(promptEmbeddings && { promptEmbeddings }),
    ...(vectors.size === 0 ? {} : { vectors }),
  };
}

type Bad = (problem: string) => BadInputError;

function partOf(name: string, type: AdapterType, bad: Bad): { path: string; part: Part } {
  const quoted = JSON.stringify(name.slice(0, 120));
  const prefix = [PREFIX, BARE_PREFIX].find((prefix) => name.startsWith(prefix));
  if (prefix === undefined) throw bad(`tensor ${quoted} does not begin with "${PREFIX}"`);
  const inner = name.slice(prefix.length);
  if (/\.lora_embedding_[AB]\b/.test(inner)) {
    throw bad(`tensor ${quoted} adapts an embedding, which is not supported`);
  }
  // PEFT inserts the adapter's name in memory, and some tools save it.
  const lora = /^(.+)\.(lora|scales)_([AB])(?:\.default)?\.weight$/.exec(inner);
  if (lora?.[2] === type) return { path: lora[1], part: lora[3] as "A" | "B" };
  const bottleneck = /^(.+)\.(adapter_(?:down|up)\.(?:weight|bias))$/.exec(inner);
  if (bottleneck !== null) return { path: bottleneck[1], part: bottleneck[2] as BottleneckPart };
  const magnitude = /^(.+)\.lora_magnitude_vector(?:\.default)?(?:\.weight)?$/.exec(inner);
  if (magnitude !== null && type === "lora") return { path: magnitude[1], part: "magnitude" };
  const vector = /^(.+)\.(?:ln_tuning_layers(?:\.default)?\.(weight|bias)|base_layer\.(bias))$/
    .exec(inner);
  if (vector !== null) {
    return { path: vector[1], part: vector[2] === "weight" ? "vector weight" : "vector bias" };
  }
  const full = /^(.+?)(?:\.modules_to_save(?:\.default)?)?\.(weight|bias)$/.exec(inner);
  if (full === null || /\.(lora|scales)_/.test(inner)) {
    throw bad(`tensor ${quoted} is of no kind graft knows`);
  }
  return { path: full[1], part: full[2] as "weight" | "bias" };
}

function asFloat32(name: string, tensor: Tensor, bad: Bad): Tensor {
  if (!isFloating(tensor.dtype)) {
    throw bad(`tensor "${name}" must be of a floating type: current type is ${tensor.dtype}`);
  }
  return tensor.dtype === "float32" ? tensor : float32(tensor.dims, toNumbers(tensor));
}

function pair(
  path: string,
  a: Tensor | undefined,
  b: Tensor | undefined,
  type: AdapterType,
  bad: Bad,
): LoraWeights {
  if (a === undefined || b === undefined) {
    const [has, lacks] = a === undefined ? ["B", "A"] : ["A", "B"];
    throw bad(`module "${path}" has ${type}_${has} without ${type}_${lacks}`);
  }
  if (a.dims.length !== 2 || b.dims.length !== 2 || a.dims[0] !== b.dims[1] || a.dims[0] < 1) {
    throw bad(
      `module "${path}": ${type}_A must be [rank, in] and ${type}_B [out, rank]: ` +
        `current shapes are [${a.dims}] and [${b.dims}]`,
    );
  }
  return { a, b };
}

function withMagnitude(
  path: string,
  weights: LoraWeights,
  magnitude: Tensor | undefined,
  bad: Bad,
): LoraWeights {
  if (magnitude === undefined) return weights;
  const [rows] = weights.b.dims;
  if (`${magnitude.dims}` !== `${rows}`) {
    throw bad(
      `module "${path}": lora_magnitude_vector must be [${rows}]: current shape is [${magnitude.dims}]`,
    );
  }
  return { ...weights, magnitude };
}

function savedModule(
  path: string,
  weight: Tensor,
  bias: Tensor | undefined,
  bad: Bad,
): SavedModule {
  if (
    weight.dims.length !== 2 || (bias !== undefined && bias.dims.join() !== `${weight.dims[0]}`)
  ) {
    throw bad(
      `module "${path}": weight must be [out, in] and bias [out]: ` +
        `current shapes are [${weight.dims}] and [${bias?.dims ?? "none"}]`,
    );
  }
  return bias === undefined ? { weight } : { weight, bias };
}
