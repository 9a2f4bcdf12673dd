/** onnxruntime-genai beside `graft run`: what both answer to the same prompts. */
import { fromFileUrl } from "@std/path";
import { graftWithInput } from "./graft.ts";
import { python } from "./requirements.ts";

const SCRIPT = fromFileUrl(new URL("../../scripts/compare_genai.py", import.meta.url));

/** A prompt's greedy answer. */
export interface Answer {
  readonly text: string;
  readonly promptTokens: number;
  /** Token ids of the answer, from onnxruntime-genai. */
  readonly ids?: readonly number[];
}

/** What onnxruntime-genai answers; prompts must be single lines. */
export async function genaiAnswers(
  model: string,
  prompts: readonly string[],
  maxTokens: number,
): Promise<Answer[]> {
  const child = new Deno.Command(python(), {
    args: [SCRIPT],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  const request = { model, prompts, max_tokens: maxTokens };
  await writer.write(new TextEncoder().encode(JSON.stringify(request)));
  await writer.close();
  const { success, stdout, stderr } = await child.output();
  const decoder = new TextDecoder();
  if (!success) throw new Error(`onnxruntime-genai failed: ${decoder.decode(stderr)}`);
  return parse(JSON.parse(decoder.decode(stdout)));
}

/** What `graft run` answers, in a process of its own. */
export async function graftAnswers(
  model: string,
  prompts: readonly string[],
  maxTokens: number,
): Promise<Answer[]> {
  const args = ["run", model, "--lines", "--json", "-n", String(maxTokens)];
  const { code, stdout, stderr } = await graftWithInput(prompts.join("\n"), ...args);
  if (code !== 0) throw new Error(`graft run failed: ${stderr}`);
  return parse(stdout.trim().split("\n").map((line) => JSON.parse(line)));
}

function parse(answers: { text: string; prompt_tokens: number; ids?: number[] }[]): Answer[] {
  return answers.map(({ text, prompt_tokens, ids }) => ({
    text,
    promptTokens: prompt_tokens,
    ids,
  }));
}
