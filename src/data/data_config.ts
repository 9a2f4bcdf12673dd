/** How training and evaluation read their rows. */
import type { ParametersOf } from "../config/parameter.ts";
import type { ColumnNames } from "./rows.ts";

/** How the rows of a data set are read and encoded. */
export interface DataConfig {
  /** Longest sequence in tokens, at least 2; what is longer is cut. */
  readonly maxSeqLength: number;
  /** Whether the loss counts only completions and assistant turns. */
  readonly maskPrompt: boolean;
  /** Name of the prompt's field; default: detected. */
  readonly promptFeature?: string;
  /** Name of the completion's field; default: detected. */
  readonly completionFeature?: string;
  /** Name of the field with the messages; default: detected. */
  readonly chatFeature?: string;
  /** Name of the field with plain text; default: detected. */
  readonly textFeature?: string;
  /** Name of the field with the class; default: detected. */
  readonly labelColumn?: string;
}

export const DATA_PARAMETERS = {
  maxSeqLength: { kind: "integer", default: 2048, min: 2 },
  maskPrompt: { kind: "boolean", default: true },
  promptFeature: { kind: "text" },
  completionFeature: { kind: "text" },
  chatFeature: { kind: "text" },
  textFeature: { kind: "text" },
  labelColumn: { kind: "text" },
} as const satisfies ParametersOf<DataConfig>;

/** The columns that a configuration names. */
export function columnsOf(config: Partial<DataConfig>): ColumnNames {
  return {
    messages: config.chatFeature,
    prompt: config.promptFeature,
    completion: config.completionFeature,
    text: config.textFeature,
    label: config.labelColumn,
  };
}
