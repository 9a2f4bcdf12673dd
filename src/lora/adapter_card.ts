/** `graft.json`: data of an adapter that PEFT's files lack. */
import { BadInputError } from "../errors.ts";
import type { Pooling } from "./head.ts";
import { JsonFields } from "./json_fields.ts";

/** Increased when readers of the old format cannot read the new one. */
const ADAPTER_FORMAT_VERSION = 1;

/** Task of an adapter's training. */
export type AdapterTask = "causal" | "classification";

/** What graft keeps beside an adapter in `graft.json`. */
export interface AdapterCard {
  /** Content digest of the base model, by `modelDigest`. */
  readonly baseDigest: string;
  /** Digest of the base's `tokenizer.json`. */
  readonly tokenizerDigest?: string;
  /** What the adapter was trained to do. */
  readonly task: AdapterTask;
  /** Class names in the order of the logits, for classification. */
  readonly labels?: readonly string[];
  /** How a new head pools token states. */
  readonly pooling?: Pooling;
  /** Digest of the training data. */
  readonly dataDigest?: string;
  /** Digests of the adapters that training started from. */
  readonly parents?: readonly string[];
  /** The resolved settings of the training run. */
  readonly config: Readonly<Record<string, unknown>>;
}

/**
 * The text of `graft.json`.
 *
 * @param files digests of the files beside it, by name, which reveal an incomplete adapter
 */
export function formatCard(card: AdapterCard, files: Readonly<Record<string, string>>): string {
  const fields = {
    format_version: ADAPTER_FORMAT_VERSION,
    base_digest: card.baseDigest,
    tokenizer_digest: card.tokenizerDigest ?? null,
    task: card.task,
    labels: card.labels ?? null,
    pooling: card.pooling ?? null,
    data_digest: card.dataDigest ?? null,
    parents: card.parents ?? [],
    config: card.config,
    files,
  };
  return JSON.stringify(fields, null, 2) + "\n";
}

/** A card with the digests of its adapter's files. */
export interface ReadCard {
  readonly card: AdapterCard;
  readonly files: ReadonlyMap<string, string>;
}

/** @throws {BadInputError} for a field of the wrong kind or a newer format, naming both versions */
export function parseCard(text: string, file = "graft.json"): ReadCard {
  const json = JsonFields.parse(text, file);
  const version = json.number("format_version");
  if (version !== ADAPTER_FORMAT_VERSION) {
    throw json.wrong("format_version", `${ADAPTER_FORMAT_VERSION}, the format this graft reads`);
  }
  const digest = json.string("base_digest");
  if (digest === undefined || !isDigest(digest)) {
    throw json.wrong("base_digest", "a SHA-256 digest");
  }
  const task = json.string("task");
  if (task !== "causal" && task !== "classification") {
    throw json.wrong("task", '"causal" or "classification"');
  }
  const pooling = json.string("pooling");
  if (pooling !== undefined && pooling !== "mean" && pooling !== "first") {
    throw json.wrong("pooling", '"mean" or "first"');
  }
  return {
    card: {
      baseDigest: digest,
      tokenizerDigest: json.string("tokenizer_digest"),
      task,
      labels: json.strings("labels"),
      pooling,
      dataDigest: json.string("data_digest"),
      parents: json.strings("parents"),
      config: json.object("config") ?? {},
    },
    files: new Map(
      Object.entries(json.object("files") ?? {}).map(([name, value]) => {
        if (typeof value === "string" && isDigest(value)) return [name, value];
        throw new BadInputError(
          `${file}: "files" must give a SHA-256 digest for "${name.slice(0, 80)}"`,
        );
      }),
    ),
  };
}

const isDigest = (text: string) => /^sha256:[0-9a-f]{64}$/.test(text);
