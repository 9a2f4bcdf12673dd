/**
 * Asks onnxruntime-genai and `graft run` the same prompts, greedy, and prints how many answers are
 * the same text; with a base beside a merged model, how many differ from the base's.
 *
 * usage: deno run -A scripts/genai_prompts.ts MODEL [--base DIR] [--data FILE.jsonl] [--count 20]
 *        [--max-tokens 64]
 *
 * Prompts are the distinct ones of the file's "prompt" fields, else the list below. GRAFT_PYTHON
 * names a Python with onnxruntime-genai. Ends with 1 where an answer differs between the two.
 */
import { parseArgs } from "@std/cli/parse-args";
import { genaiAnswers, graftAnswers } from "../tests/helpers/genai.ts";

const PROMPTS = [
  "Why is the sky blue?",
  "Name three primary colours.",
  "What is the capital of France?",
  "Write a haiku about rain.",
  "How do I boil an egg?",
  "Translate good morning into Spanish.",
  "What is seven times eight?",
  "Explain photosynthesis in one sentence.",
  "Give me a name for a bakery.",
  "What does a compiler do?",
  "List two uses of copper.",
  "Who wrote Romeo and Juliet?",
  "What should I pack for a hike?",
  "Describe a cat to someone who has never seen one.",
  "How far away is the moon?",
  "What is a healthy breakfast?",
  "Tell me a fact about octopuses.",
  "Why do leaves change colour?",
  "How does a bicycle stay upright?",
  "Write the first line of a story about a lighthouse.",
];

/** Distinct prompts of a data set; line breaks become spaces, since `--lines` takes one a line. */
function promptsOf(path: string): string[] {
  const rows = Deno.readTextFileSync(path).trim().split("\n").map((line) => JSON.parse(line));
  return [...new Set(rows.map(({ prompt }) => String(prompt).replaceAll("\n", " ")))];
}

const args = parseArgs(Deno.args, {
  string: ["base", "data"],
  default: { "count": 20, "max-tokens": 64 },
});
const model = args._[0];
if (typeof model !== "string") {
  console.error("usage: deno run -A scripts/genai_prompts.ts MODEL [--base DIR] [--data FILE]");
  Deno.exit(2);
}
const prompts = (args.data === undefined ? PROMPTS : promptsOf(args.data)).slice(0, args.count);
const maxTokens = args["max-tokens"];
const genai = await genaiAnswers(model, prompts, maxTokens);
const graft = await graftAnswers(model, prompts, maxTokens);
const base = args.base === undefined
  ? undefined
  : await graftAnswers(args.base, prompts, maxTokens);

let equal = 0;
let unlikeBase = 0;
prompts.forEach((prompt, i) => {
  if (base !== undefined && graft[i].text !== base[i].text) unlikeBase++;
  if (graft[i].text === genai[i].text) {
    equal++;
    return;
  }
  console.log(
    `differs: ${JSON.stringify(prompt)} (${genai[i].promptTokens} tokens for genai, ` +
      `${graft[i].promptTokens} for graft)`,
  );
  console.log(`  genai: ${JSON.stringify(genai[i].text)}`);
  console.log(`  graft: ${JSON.stringify(graft[i].text)}`);
});
console.log(`${equal} of ${prompts.length} answers are the same text in onnxruntime-genai`);
if (base !== undefined) {
  console.log(`${unlikeBase} of ${prompts.length} answers are not the base's`);
}
if (equal < prompts.length) Deno.exit(1);
