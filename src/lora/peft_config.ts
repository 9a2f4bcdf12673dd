/**
 * PEFT's `adapter_config.json`.
 *
 * Written with the fields that every release from 0.10 on accepts (older ones fail on unknown fields).
 * Source: `peft.LoraConfig` and the files PEFT 0.10 and 0.21 write.
 */
import { BadInputError } from "../errors.ts";
import { type BottleneckConfig, NON_LINEARITIES, PLACEMENTS } from "./bottleneck/config.ts";
import { JsonFields } from "./json_fields.ts";
import {
  BIASES,
  type TrainedBiases,
  VECTOR_METHODS,
  type VectorMethod,
} from "./vectors/methods.ts";
import { VIRTUAL_METHODS, type VirtualTokensConfig } from "./virtual_tokens/config.ts";
import { formatPeftType, isLowRank, type Method, parsePeftType } from "./peft_type.ts";

/** PEFT's task types that graft trains. */
export type TaskType = "CAUSAL_LM" | "SEQ_CLS" | "FEATURE_EXTRACTION";

/** Kind of an adapter: a low-rank sum on the weight, or low-rank factors on its scales. */
export type AdapterType = (typeof ADAPTER_TYPES)[number];
/** Kinds of adapters. */
export const ADAPTER_TYPES = ["lora", "scales"] as const;

/** The fields of an adapter's `adapter_config.json` that affect its results. */
export interface PeftConfig {
  /** Kind of the adapter. */
  readonly adapterType: AdapterType;
  /** Rank where no pattern says another; 0 if the adapter has no low-rank matrices. */
  readonly rank: number;
  /** The update counts alpha / rank times. */
  readonly alpha: number;
  /** Share of the inputs dropped in training. */
  readonly dropout: number;
  /** Other ranks by pattern of module paths. */
  readonly rankPattern: Readonly<Record<string, number>>;
  /** Other alphas by pattern of module paths. */
  readonly alphaPattern: Readonly<Record<string, number>>;
  /** Whether the scale is alpha / √rank instead. */
  readonly useRslora: boolean;
  /** Whether the magnitudes of the weights' rows were trained too: DoRA. */
  readonly useDora: boolean;
  /** Names, or one pattern; the tensors determine the adapted modules. */
  readonly targetModules: readonly string[] | string;
  /** Modules that were trained in full. */
  readonly modulesToSave: readonly string[];
  /** PEFT's task type, such as `CAUSAL_LM`. */
  readonly taskType?: string;
  /** Name or path of the base. */
  readonly base?: string;
  /** Whether A started from a normal distribution. */
  readonly gaussian: boolean;
  /** Its bottleneck adapters. */
  readonly bottleneck?: BottleneckConfig;
  /** Its virtual tokens. */
  readonly virtualTokens?: VirtualTokensConfig;
  /** Which biases were trained beside LoRA; default none. */
  readonly bias?: TrainedBiases;
  /** The method by which vectors of the graph were trained, apart from biases beside LoRA. */
  readonly vectorMethod?: VectorMethod;
}

/** The methods that an adapter combines. */
export function methodsOf(
  { rank, adapterType, bottleneck, virtualTokens, vectorMethod }: PeftConfig,
): readonly Method[] {
  const beside = [
    ...bottleneck === undefined ? [] : [bottleneck.placement],
    ...virtualTokens === undefined ? [] : [virtualTokens.method],
    ...vectorMethod === undefined ? [] : [vectorMethod],
  ];
  return rank > 0 || beside.length === 0 ? [adapterType, ...beside] : beside;
}

/** The text of `adapter_config.json`. */
export function formatPeftConfig(config: PeftConfig): string {
  const methods = methodsOf(config);
  const fields = {
    ...methods.some(isLowRank) ? lowRankFields(config) : {},
    ...bottleneckFields(config.bottleneck),
    ...virtualFields(config.virtualTokens),
    ...config.vectorMethod === undefined ? {} : { target_modules: config.targetModules },
    auto_mapping: null,
    base_model_name_or_path: config.base ?? null,
    inference_mode: true,
    modules_to_save: config.modulesToSave.length === 0 ? null : config.modulesToSave,
    peft_type: formatPeftType(methods),
    revision: null,
    task_type: config.taskType ?? null,
  };
  // In the order of their names, as PEFT writes them.
  const sorted = Object.entries(fields).sort(([a], [b]) => a < b ? -1 : 1);
  return JSON.stringify(Object.fromEntries(sorted), null, 2) + "\n";
}

function lowRankFields(config: PeftConfig) {
  return {
    alpha_pattern: config.alphaPattern,
    bias: config.bias ?? "none",
    fan_in_fan_out: false,
    init_lora_weights: config.gaussian ? "gaussian" : true,
    layer_replication: null,
    layers_pattern: null,
    layers_to_transform: null,
    loftq_config: {},
    lora_alpha: config.alpha,
    lora_dropout: config.dropout,
    megatron_config: null,
    megatron_core: "megatron.core",
    r: config.rank,
    rank_pattern: config.rankPattern,
    target_modules: config.targetModules,
    use_dora: config.useDora,
    use_rslora: config.useRslora,
  };
}

const bottleneckFields = (config: BottleneckConfig | undefined) =>
  config && { reduction_factor: config.reductionFactor, non_linearity: config.nonLinearity };

function virtualFields(config: VirtualTokensConfig | undefined) {
  return config && {
    num_virtual_tokens: config.numVirtualTokens,
    token_dim: config.tokenDim,
    // PEFT fills in from its model what is null.
    num_layers: config.numLayers ?? null,
    num_attention_heads: config.numAttentionHeads ?? null,
    num_transformer_submodules: 1,
    ...(config.method === "prompt_tuning"
      ? { prompt_tuning_init: "RANDOM" }
      : { prefix_projection: false }),
  };
}

/** Fields read below. */
const READ =
  "r lora_alpha lora_dropout rank_pattern alpha_pattern use_rslora target_modules modules_to_save " +
  "task_type base_model_name_or_path peft_type bias init_lora_weights use_dora reduction_factor non_linearity " +
  "num_virtual_tokens token_dim num_layers num_attention_heads num_transformer_submodules prefix_projection";
/** Fields that do not affect a finished adapter's results, or that its tensors determine. */
const HARMLESS =
  "auto_mapping inference_mode revision peft_version layers_pattern layers_to_transform " +
  "exclude_modules fan_in_fan_out megatron_core loftq_config eva_config corda_config lora_ga_config " +
  "ensure_weight_tying qalora_group_size runtime_config prompt_tuning_init prompt_tuning_init_text " +
  "tokenizer_name_or_path tokenizer_kwargs encoder_hidden_size init_weights";
const KNOWN: ReadonlySet<string> = new Set([...READ.split(" "), ...HARMLESS.split(" ")]);

/**
 * Reads `adapter_config.json`.
 *
 * @throws {BadInputError} for a field of the wrong kind, and for every option that graft does not
 *   implement (trained biases, other adapter kinds), by its name
 */
export function parsePeftConfig(text: string, file = "adapter_config.json"): PeftConfig {
  const json = JsonFields.parse(text, file);
  const methods = refuseUnsupported(json);
  const rank = methods.some(isLowRank) ? json.number("r") : 0;
  if (
    rank === undefined || !Number.isSafeInteger(rank) || rank < (methods.some(isLowRank) ? 1 : 0)
  ) {
    throw json.wrong("r", "a whole number >= 1");
  }
  const alpha = json.number("lora_alpha") ?? 8;
  const dropout = json.number("lora_dropout") ?? 0;
  if (!(dropout >= 0 && dropout < 1)) throw json.wrong("lora_dropout", "in [0, 1)");
  const targets = json.fields.get("target_modules");
  return {
    adapterType: methods.includes("scales") ? "scales" : "lora",
    rank,
    alpha,
    dropout,
    rankPattern: json.numbersByName("rank_pattern") ?? {},
    alphaPattern: json.numbersByName("alpha_pattern") ?? {},
    useRslora: json.boolean("use_rslora") ?? false,
    useDora: json.boolean("use_dora") ?? false,
    targetModules: typeof targets === "string" ? targets : json.strings("target_modules") ?? [],
    modulesToSave: json.strings("modules_to_save") ?? [],
    taskType: json.string("task_type"),
    base: json.string("base_model_name_or_path"),
    gaussian: json.fields.get("init_lora_weights") === "gaussian",
    ...bottleneckOf(methods, json),
    ...vectorsOf(methods, json),
    ...virtualTokensOf(methods, json),
  };
}

function vectorsOf(
  methods: readonly Method[],
  json: JsonFields,
): Pick<PeftConfig, "bias" | "vectorMethod"> {
  const vectorMethod = VECTOR_METHODS.find((method) => methods.includes(method));
  const bias = BIASES.find((bias) => bias === json.string("bias")) ?? "none";
  return { ...(vectorMethod && { vectorMethod }), ...(bias === "none" ? {} : { bias }) };
}

function bottleneckOf(
  methods: readonly Method[],
  json: JsonFields,
): Pick<PeftConfig, "bottleneck"> {
  const placement = PLACEMENTS.find((placement) => methods.includes(placement));
  if (placement === undefined) return {};
  const nonLinearity = NON_LINEARITIES.find((name) => name === json.string("non_linearity"));
  if (nonLinearity === undefined) {
    throw json.wrong("non_linearity", `one of ${NON_LINEARITIES.join(", ")}`);
  }
  const reductionFactor = json.number("reduction_factor") ?? 0;
  if (!(reductionFactor > 0)) throw json.wrong("reduction_factor", "a number > 0");
  return { bottleneck: { placement, reductionFactor, nonLinearity } };
}

function virtualTokensOf(
  methods: readonly Method[],
  json: JsonFields,
): Pick<PeftConfig, "virtualTokens"> {
  const method = VIRTUAL_METHODS.find((method) => methods.includes(method));
  if (method === undefined) return {};
  const count = (name: string) => {
    const value = json.number(name) ?? 0;
    if (!Number.isSafeInteger(value) || value < 1) throw json.wrong(name, "a whole number >= 1");
    return value;
  };
  const tokens = {
    method,
    numVirtualTokens: count("num_virtual_tokens"),
    tokenDim: count("token_dim"),
  };
  if ((json.number("num_transformer_submodules") ?? 1) !== 1) {
    throw json.wrong("num_transformer_submodules", "1: graft has no models of encoder and decoder");
  }
  if (json.boolean("prefix_projection") === true) {
    throw json.wrong(
      "prefix_projection",
      "false: the network that makes a prefix is not supported",
    );
  }
  if (method === "prompt_tuning") return { virtualTokens: tokens };
  const prefix = {
    numLayers: count("num_layers"),
    numAttentionHeads: count("num_attention_heads"),
  };
  return { virtualTokens: { ...tokens, ...prefix } };
}

/** Refuses what graft does not implement; returns the adapter's methods. */
function refuseUnsupported(json: JsonFields): readonly Method[] {
  const refuse = (what: string): never => {
    throw new BadInputError(
      `${json.file}: ${what} is not supported; graft reads plain LoRA, prompt and prefix tuning, and its own adapters of scales and bottlenecks`,
    );
  };
  const kind = json.string("peft_type");
  const methods = parsePeftType(kind ?? "") ?? refuse(`adapter kind "${kind}"`);
  if (json.boolean("use_dora") === true && !methods.includes("lora")) {
    refuse(`DoRA (use_dora) beside adapter kind "${kind}"`);
  }
  const bias = json.string("bias") ?? "none";
  if (!BIASES.some((known) => known === bias)) refuse(`bias: "${bias.slice(0, 40)}"`);
  // These initialisations move part of the base's weights into the adapter.
  const init = json.fields.get("init_lora_weights") ?? true;
  if (typeof init === "string" && !["gaussian", "eva", "orthogonal"].includes(init)) {
    refuse(`init_lora_weights "${init.slice(0, 40)}", which changes the base's weights,`);
  }
  for (const [name, value] of json.fields) {
    if (!KNOWN.has(name) && !isOff(value)) refuse(`option "${name.slice(0, 80)}"`);
  }
  return methods;
}

/** Whether a value turns an option off. */
function isOff(value: unknown): boolean {
  if (value === null || value === false) return true;
  return typeof value === "object" && Object.keys(value).length === 0;
}
