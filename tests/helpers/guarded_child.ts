/** Runs one hostile tokenizer or template in a text process and leaves as graft's commands do. */
import { GuardedText } from "../../src/data/mod.ts";
import { GraftError } from "../../src/errors.ts";
import { DOUBLING_TEMPLATE, tinyFiles, tinyWith } from "./text_files.ts";

const CASES: Record<string, () => Promise<unknown>> = {
  async pattern() {
    const pattern = { Regex: "(a+)+$" };
    const text = await GuardedText.start(
      tinyWith({ pre_tokenizer: { type: "Split", pattern, behavior: "Isolated", invert: false } }),
    );
    await text.encode(["a".repeat(60) + "b"]);
  },
  async growth() {
    const double = { type: "Replace", pattern: { String: "a" }, content: "aa" };
    const text = await GuardedText.start(
      tinyWith({ normalizer: { type: "Sequence", normalizers: new Array(40).fill(double) } }),
    );
    await text.encode(["a"]);
  },
  async multiplied() {
    // 60 KB that make 400 MB: V8 ends a process that runs out of memory in such a step.
    const normalizers = [
      { type: "Prepend", prepend: "x".repeat(40_000) },
      { type: "Replace", pattern: { Regex: "x" }, content: "y".repeat(10_000) },
    ];
    await GuardedText.start(tinyWith({ normalizer: { type: "Sequence", normalizers } }));
  },
  async "endless pieces"() {
    await GuardedText.start(tinyWith({ pre_tokenizer: { type: "FixedLength", length: 0 } }));
  },
  async template() {
    const loop = "{% for a in range(60000) %}{% for b in range(60000) %}{% endfor %}{% endfor %}";
    const text = await GuardedText.start(tinyFiles(loop));
    await text.render([{ role: "user", content: "" }]);
  },
  async memory() {
    const text = await GuardedText.start(tinyFiles(DOUBLING_TEMPLATE));
    await text.render([{ role: "user", content: "" }]);
  },
};

try {
  await CASES[Deno.args[0]]();
  console.log("no error");
  Deno.exit(0);
} catch (error) {
  console.log(`${(error as Error).name}: ${(error as Error).message}`);
  Deno.exit(error instanceof GraftError ? error.exitCode : 70);
}
