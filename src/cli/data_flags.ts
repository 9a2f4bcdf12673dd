/** Flags about data that training and evaluation share. */
import { DATA_PARAMETERS } from "../data/data_config.ts";
import { boolean, integer, text } from "./flags.ts";

const P = DATA_PARAMETERS;
const MODEL = "Model and data";

export const DATA_FLAGS = {
  maxSeqLength: integer("Longest sequence in tokens; longer ones are cut", {
    ...P.maxSeqLength,
    group: MODEL,
  }),
  maskPrompt: boolean("Loss on completions and assistant turns only", {
    ...P.maskPrompt,
    group: MODEL,
  }),
  promptFeature: text("Name of the prompt's field", { placeholder: "NAME", group: MODEL }),
  completionFeature: text("Name of the completion's field", { placeholder: "NAME", group: MODEL }),
  chatFeature: text("Name of the field with the messages", { placeholder: "NAME", group: MODEL }),
  textFeature: text("Name of the field with plain text", { placeholder: "NAME", group: MODEL }),
  labelColumn: text("Name of the field with the class", { placeholder: "NAME", group: MODEL }),
} as const;
