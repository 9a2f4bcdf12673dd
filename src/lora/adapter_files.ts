/**
 * Encodes an adapter as files (bytes by file name) and decodes it.
 *
 * | file | content |
 * |---|---|
 * | `adapter_config.json`, `adapter_model.safetensors` | the adapter as PEFT loads it |
 * | `head.safetensors` | a new head's `head.weight` and `head.bias`, where there is one |
 * | `graft.json` | base and tokenizer digests, labels, resolved settings; absent in PEFT's own |
 */
import { BadInputError } from "../errors.ts";
import type { Tensor } from "../graph/tensor.ts";
import { decodeSafetensors, safetensorsParts } from "../safetensors/mod.ts";
import { type AdapterCard, formatCard, parseCard, type ReadCard } from "./adapter_card.ts";
import { type AdapterTensors, adapterTensors, peftTensors } from "./adapter_tensors.ts";
import { digestOf } from "./digest.ts";
import { HEAD } from "./head.ts";
import { formatPeftConfig, parsePeftConfig, type PeftConfig } from "./peft_config.ts";
import { PatternValues } from "./pattern.ts";
import { checkLinearWeights, type LinearWeights } from "./trainable.ts";

/** File names of an adapter. */
export const ADAPTER_FILES = {
  config: "adapter_config.json",
  tensors: "adapter_model.safetensors",
  head: "head.safetensors",
  card: "graft.json",
} as const;

/** A LoRA adapter and other trained tensors. */
export interface Adapter extends AdapterTensors {
  /** Its `adapter_config.json`. */
  readonly config: PeftConfig;
  /** A new classification head. */
  readonly head?: LinearWeights;
  /** Absent for adapters of other programs. */
  readonly card?: AdapterCard;
}

/** Files by name. */
export type Files = ReadonlyMap<string, Uint8Array>;

const utf8 = (text: string) => new TextEncoder().encode(text);

/**
 * The files of an adapter; `graft.json` is last and has the digests of the others. Each file is a list
 * of parts, among them the tensors' own bytes: joining them would double the memory of all trained
 * tensors.
 */
export function encodeAdapter(
  adapter: Adapter & { readonly card: AdapterCard },
): ReadonlyMap<string, readonly Uint8Array[]> {
  const files = new Map<string, readonly Uint8Array[]>([
    [ADAPTER_FILES.config, [utf8(formatPeftConfig(adapter.config))]],
    [
      ADAPTER_FILES.tensors,
      safetensorsParts(
        peftTensors(adapter, adapter.config.adapterType, adapter.config.vectorMethod),
      ),
    ],
  ]);
  if (adapter.head !== undefined) {
    const { weight, bias } = adapter.head;
    const tensors = new Map([[HEAD.weight, weight], [HEAD.bias, bias]]);
    files.set(ADAPTER_FILES.head, safetensorsParts(tensors));
  }
  const digests = Object.fromEntries([...files].map(([name, parts]) => [name, digestOf(...parts)]));
  files.set(ADAPTER_FILES.card, [utf8(formatCard(adapter.card, digests))]);
  return files;
}

/**
 * Reads an adapter from its files.
 *
 * @param where the folder's path, for messages
 * @throws {BadInputError} for missing, malformed or unsupported content, naming the file
 */
export function decodeAdapter(files: Files, where: string): Adapter {
  const path = (name: string) => `${where}/${name}`;
  const need = (name: string) => {
    const bytes = files.get(name);
    if (bytes === undefined) throw new BadInputError(`${path(name)}: the file is missing`);
    return bytes;
  };
  const config = parsePeftConfig(
    text(need(ADAPTER_FILES.config), path(ADAPTER_FILES.config)),
    path(ADAPTER_FILES.config),
  );
  const tensorsFile = path(ADAPTER_FILES.tensors);
  const raw = decodeSafetensors(need(ADAPTER_FILES.tensors), { file: tensorsFile }).tensors;
  const tensors = adapterTensors(raw, tensorsFile, config.adapterType);
  checkRanks(tensors, config, tensorsFile);
  const [stray] = config.vectorMethod === undefined && (config.bias ?? "none") === "none"
    ? tensors.vectors?.keys() ?? []
    : [];
  if (stray !== undefined) {
    throw new BadInputError(
      `${tensorsFile}: "${stray}" has no module: a bias without a weight is trained by \`bias\` ` +
        "and BitFit, a normalisation by LN_TUNING",
    );
  }
  checkParts(tensors, config, tensorsFile);
  const headBytes = files.get(ADAPTER_FILES.head);
  const head = headBytes && decodeHead(headBytes, path(ADAPTER_FILES.head));
  const cardBytes = files.get(ADAPTER_FILES.card);
  const card = cardBytes && decodeCard(cardBytes, path(ADAPTER_FILES.card)).card;
  if (
    head !== undefined && card?.labels !== undefined && card.labels.length !== head.bias.dims[0]
  ) {
    throw new BadInputError(
      `${where}: the head has ${
        head.bias.dims[0]
      } classes, ${ADAPTER_FILES.card} names ${card.labels.length}`,
    );
  }
  return { ...tensors, config, ...(head && { head }), ...(card && { card }) };
}

/** Reads `graft.json`. */
export function decodeCard(bytes: Uint8Array, file: string = ADAPTER_FILES.card): ReadCard {
  return parseCard(text(bytes, file), file);
}

function text(bytes: Uint8Array, file: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw new BadInputError(`${file}: it is not UTF-8 text`, { cause: error });
  }
}

function checkRanks({ lora }: AdapterTensors, config: PeftConfig, file: string): void {
  const ranks = new PatternValues(config.rankPattern);
  for (const [path, { a, magnitude }] of lora) {
    if ((magnitude !== undefined) !== config.useDora) {
      throw new BadInputError(
        `${file}: module "${path}" has ${magnitude === undefined ? "no" : "a"} ` +
          `lora_magnitude_vector, adapter_config.json says use_dora: ${config.useDora}`,
      );
    }
    const rank = ranks.of(path) ?? config.rank;
    if (a.dims[0] !== rank) {
      throw new BadInputError(
        `${file}: module "${path}" has rank ${a.dims[0]}, adapter_config.json says ${rank}`,
      );
    }
  }
}

/** Checks that the file has what the configuration says, and nothing beside it. */
function checkParts(tensors: AdapterTensors, config: PeftConfig, file: string): void {
  const { lora, bottlenecks, promptEmbeddings } = tensors;
  const parts = [
    { what: "low-rank matrices", has: lora.size > 0, allowed: config.rank > 0 },
    {
      what: "bottleneck adapters",
      has: bottlenecks !== undefined,
      wanted: config.bottleneck !== undefined,
    },
    {
      what: "prompt_embeddings",
      has: promptEmbeddings !== undefined,
      wanted: config.virtualTokens !== undefined,
    },
  ];
  for (const { what, has, wanted, allowed = wanted } of parts) {
    if (has && !allowed) {
      throw new BadInputError(`${file}: it has ${what}, adapter_config.json none`);
    }
    if (wanted === true && !has) {
      throw new BadInputError(`${file}: it has no ${what}, of which adapter_config.json speaks`);
    }
  }
}

function decodeHead(bytes: Uint8Array, file: string): LinearWeights {
  const { tensors } = decodeSafetensors(bytes, { file });
  const need = (name: string): Tensor => {
    const found = tensors.get(name);
    if (found === undefined) throw new BadInputError(`${file}: tensor "${name}" is missing`);
    return found;
  };
  const head = { weight: need(HEAD.weight), bias: need(HEAD.bias) };
  checkLinearWeights("head", head, head.weight.dims[1]);
  return head;
}
