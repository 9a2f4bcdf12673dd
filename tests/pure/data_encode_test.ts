import { assert, assertEquals, assertThrows } from "@std/assert";
import table from "../fixtures/data/token_ids.json" with { type: "json" };
import { ChatTemplate } from "../../src/data/chat_template.ts";
import {
  type EncodedRow,
  type EncodeOptions,
  encodeRow,
  type Message,
  type Row,
  targetCount,
  type TextFiles,
  Tokenizer,
} from "../../src/data/mod.ts";
import { BadInputError, UsageError } from "../../src/errors.ts";
import { baseFiles, miniFiles, tinyFiles } from "../helpers/text_files.ts";

function toolsOf(files: TextFiles) {
  const tokenizer = new Tokenizer(files);
  const { chatTemplate } = files;
  return {
    tokenizer,
    template: chatTemplate && new ChatTemplate(chatTemplate, tokenizer.info.specialTokens),
  };
}

const TINY = toolsOf(tinyFiles());
const encode = (row: Row, options: Partial<EncodeOptions> = {}, tools = TINY) =>
  encodeRow(tools, row, { maxLength: 512, ...options }, "data.jsonl:7");

/** -100 everywhere but in the row's spans. */
function labelsOf({ ids, spans }: EncodedRow): number[] {
  const labels = new Int32Array(ids.length).fill(-100);
  for (let i = 0; i < spans.length; i += 2) {
    labels.set(ids.subarray(spans[i], spans[i + 1]), spans[i]);
  }
  return [...labels];
}

/** The text of what is learned. */
function learned(row: EncodedRow, tools = TINY): string {
  const targets = labelsOf(row).filter((label) => label !== -100);
  return tools.tokenizer.decode(targets, { skipSpecialTokens: false });
}

Deno.test("encodeRow() gives PEFT's example encoding of prompt and completion", () => {
  const { maxLength, rows } = table.completions;
  for (const { prompt, completion, ids, labels } of rows) {
    const row = encode({ kind: "completion", prompt, completion }, { maxLength });
    assertEquals([...row.ids], ids);
    assertEquals(labelsOf(row), labels);
  }
});

Deno.test("encodeRow() counts a row whose completion is cut off as truncated and without targets", () => {
  const row = encode({ kind: "completion", prompt: "x ".repeat(90), completion: "y" }, {
    maxLength: 64,
  });
  assertEquals([row.truncated, row.ids.length, targetCount(row)], [true, 64, 0]);
});

const CHAT: Message[] = [
  { role: "system", content: "Be short." },
  { role: "user", content: "One?" },
  { role: "assistant", content: "Two." },
  { role: "user", content: "Three?" },
  { role: "assistant", content: "Four." },
];
const chat = (messages: Message[], firstTarget = 0): Row => ({
  kind: "messages",
  messages,
  firstTarget,
});

Deno.test("encodeRow() learns a chat's assistant turns and nothing else", () => {
  assertEquals(learned(encode(chat(CHAT))), "Two.<|im_end|>\nFour.<|im_end|>\n");
});

Deno.test("encodeRow() leaves turns of weight 0 and turns of the prompt out of the loss", () => {
  const weighted = CHAT.map((m, i) => i === 2 ? { ...m, weight: 0 as const } : m);
  assertEquals(learned(encode(chat(weighted))), "Four.<|im_end|>\n");
  assertEquals(learned(encode(chat(CHAT, 3))), "Four.<|im_end|>\n");
});

Deno.test("encodeRow() with maskPrompt off learns everything", () => {
  const row = encode(chat(CHAT), { maskPrompt: false });
  assertEquals([...row.spans], [0, row.ids.length]);
  const pair = encode({ kind: "completion", prompt: "a", completion: "b" }, { maskPrompt: false });
  assertEquals([...pair.spans], [0, pair.ids.length]);
});

Deno.test("encodeRow() learns a chat without an assistant's turn nowhere", () => {
  assertEquals(targetCount(encode(chat(CHAT.slice(0, 2)))), 0);
});

Deno.test("encodeRow() renders and encodes no beginnings of turns behind the cut", () => {
  const turn = [{ role: "user", content: "one?" }, { role: "assistant", content: "Two." }] as const;
  const messages = Array.from({ length: 300 }, () => turn).flat();
  let renders = 0;
  class Counted extends ChatTemplate {
    override render(...args: Parameters<ChatTemplate["render"]>): string {
      renders++;
      return super.render(...args);
    }
  }
  const { name, text } = tinyFiles().chatTemplate!;
  const template = new Counted({ name, text }, TINY.tokenizer.info.specialTokens);
  const cut = encode(chat(messages), { maxLength: 100 }, { ...TINY, template });
  const { ids, spans } = encode(chat(messages.slice(0, 40)), { maxLength: 100 });
  assertEquals([cut.ids, cut.spans, cut.truncated], [ids, spans, true]);
  assert(renders < 40, `${renders} renderings`);
});

Deno.test("encodeRow() learns only the last turn where the template rewrites earlier ones", () => {
  const forgetful = `{% for m in messages %}[{{ m.role }}]` +
    `{% if m.role == 'assistant' and loop.last %}(thought){% endif %}{{ m.content }};` +
    `{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}`;
  const tools = toolsOf(tinyFiles(forgetful));
  const row = encode(chat(CHAT), {}, tools);
  assertEquals(row.lastTurnOnly, true);
  assertEquals(learned(row, tools), "(thought)Four.;");
});

Deno.test("encodeRow() joins prompt and completion of a base model and adds the end token", () => {
  const base = toolsOf(baseFiles());
  const row = encode({ kind: "completion", prompt: "In:", completion: " out" }, {}, base);
  assertEquals(learned(row, base), " out<|im_end|>");
  assertEquals(
    base.tokenizer.decode([...row.ids], { skipSpecialTokens: false }),
    "In: out<|im_end|>",
  );
});

Deno.test("encodeRow() learns all of a plain text and its end", () => {
  assertEquals(learned(encode({ kind: "text", text: "All of it" })), "All of it<|im_end|>");
});

Deno.test("encodeRow() classifies under the class's number and keeps the closing token when it cuts", () => {
  const mini = toolsOf(miniFiles());
  const classes = new Map([["off", 0], ["on", 1]]);
  const row = encode(
    { kind: "label", text: "turn the light on please", label: "on" },
    { classes, maxLength: 5 },
    mini,
  );
  assertEquals([row.classId, row.truncated, row.ids.length, row.ids[4]], [1, true, 5, 102]);
  assertEquals(targetCount(row), 1);
});

Deno.test("encodeRow() names the place of a class that is not trained on", () => {
  const classes = new Map([["off", 0]]);
  assertThrows(
    () => encode({ kind: "label", text: "t", label: "dim" }, { classes }),
    BadInputError,
    `data.jsonl:7: the class "dim" is not among`,
  );
});

Deno.test("encodeRow() refuses ids that the model has no score for", () => {
  assertThrows(
    () => encode({ kind: "text", text: "text" }, { modelVocabSize: 3 }),
    BadInputError,
    "data.jsonl:7: the tokenizer gives an id that the model has no score for",
  );
});

Deno.test("encodeRow() refuses a chat for a model without a chat template and says what to do", () => {
  assertThrows(
    () => encode(chat(CHAT), {}, toolsOf(baseFiles())),
    UsageError,
    "put a chat_template.jinja into its folder",
  );
});

Deno.test("encodeRow() names the place where the template refuses a chat", () => {
  const strict = tinyFiles("{{ raise_exception('Roles must alternate') }}");
  assertThrows(
    () => encode(chat(CHAT), {}, toolsOf(strict)),
    BadInputError,
    "data.jsonl:7: the chat template tiny-llama/chat_template.jinja cannot render these messages: " +
      "Roles must alternate",
  );
});
