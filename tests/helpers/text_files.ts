/** Tokenizer files of the fixtures, imported so that tests need no permission to read them. */
import tinyTokenizer from "../fixtures/models/tiny-llama-genai-int4/tokenizer.json" with {
  type: "json",
};
import tinyConfig from "../fixtures/models/tiny-llama-genai-int4/tokenizer_config.json" with {
  type: "json",
};
import miniTokenizer from "../../models/all-minilm-l6-v2-int8/tokenizer.json" with { type: "json" };
import miniConfig from "../../models/all-minilm-l6-v2-int8/tokenizer_config.json" with {
  type: "json",
};
import type { TextFiles } from "../../src/data/mod.ts";

/** A value as the bytes of a JSON file. */
export const jsonBytes = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

/** The tiny models' chat template (their `chat_template.jinja`). */
export const TINY_TEMPLATE = `{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}`;

/** Text files of the tiny language model: byte-level BPE of 512 tokens. */
export function tinyFiles(template: string | undefined = TINY_TEMPLATE): TextFiles {
  return {
    name: "tiny-llama",
    tokenizerJson: jsonBytes(tinyTokenizer),
    tokenizerConfig: jsonBytes(tinyConfig),
    chatTemplate: template === undefined
      ? undefined
      : { name: "tiny-llama/chat_template.jinja", text: template },
  };
}

/** Text files of the tiny language model without its chat template: a base model. */
export function baseFiles(): TextFiles {
  return { ...tinyFiles(), chatTemplate: undefined };
}

/** Text files of all-MiniLM-L6-v2: WordPiece between [CLS] and [SEP]. */
export function miniFiles(): TextFiles {
  return {
    name: "all-minilm-l6-v2",
    tokenizerJson: jsonBytes(miniTokenizer),
    tokenizerConfig: jsonBytes(miniConfig),
  };
}

/** A chat template that doubles a list until memory ends. */
export const DOUBLING_TEMPLATE = "{% set ns = namespace(l=[1,2,3,4]) %}" +
  "{% for a in range(40) %}{% set ns.l = ns.l + ns.l %}{% endfor %}";

/** The tiny tokenizer's JSON with some of its fields replaced. */
export function tinyWith(fields: Record<string, unknown>): TextFiles {
  return { ...tinyFiles(), tokenizerJson: jsonBytes({ ...tinyTokenizer, ...fields }) };
}

/** The tiny tokenizer's model with some of its fields replaced. */
export function tinyModelWith(fields: Record<string, unknown>): TextFiles {
  return tinyWith({ model: { ...tinyTokenizer.model, ...fields } });
}
