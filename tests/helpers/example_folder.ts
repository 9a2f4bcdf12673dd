/** A folder in which the examples of documents and docstrings run: what they name lies there. */
import { join, resolve } from "@std/path";

/** Names in examples, and what stands for them. */
const LINKS: Readonly<Record<string, string>> = {
  "models": "models",
  "model-fp32": "tests/fixtures/models/tiny-llama-genai-fp32",
  "model-int4": "tests/fixtures/models/tiny-llama-genai-int4",
  "facts": "tests/fixtures/reference/tiny-llama-int4.all/adapter_after_10_steps",
  "style": "tests/fixtures/reference/tiny-llama-int4.all/adapter_init",
};

const ROWS = Array.from({ length: 6 }, (_, i) => ({ text: `card number ${i} is lost in town` }));

/** Variables that keep examples from the user's own caches. */
export function exampleVariables(folder: string): Record<string, string> {
  return { HF_HOME: join(folder, ".hub"), GRAFT_HOME: join(folder, ".graft") };
}

/** Makes the folder at a path that is free. */
export function makeExampleFolder(folder: string): void {
  Deno.mkdirSync(join(folder, "data"), { recursive: true });
  for (const [name, path] of Object.entries(LINKS)) {
    Deno.symlinkSync(resolve(path), join(folder, name));
  }
  const lines = ROWS.map((row) => JSON.stringify(row) + "\n").join("");
  for (const part of ["train", "valid"]) {
    Deno.writeTextFileSync(join(folder, "data", `${part}.jsonl`), lines);
  }
}
