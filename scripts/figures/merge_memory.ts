/**
 * What the rewrite of a merge adds to the process at its peak, beside the size of the model's files;
 * prints a JSON line each, and ends with 1 where one adds as much as the file. Measuring what a merge
 * keeps (the certificate) is not in it. Compensated rounding, fitted scales and 8 bits are measured twice: by
 * made-up sums (8 bits: by none), and with the runs that collect `--tokens` activations: a MiniLM with
 * all layers adapted then takes about as much as its file of 23 MB. Quantising is in
 * `tests/ort/rewrite_memory_test.ts`.
 *
 * `own` is the process's own memory, `pages` those of files, which the kernel may drop; both are
 * shares of the files' size.
 *
 * usage: deno run -A scripts/figures/merge_memory.ts [--model smollm2|minilm] [--how nearest,…]
 *   [--targets q,v|all-linear] [--tokens 0,512] [--shared ../shared]
 */
import { parseArgs } from "@std/cli/parse-args";
import { measureRewrite, type Rewrite } from "../../tests/helpers/measured_rewrite.ts";

const flags = parseArgs(Deno.args, {
  string: ["model", "how", "targets", "tokens", "shared"],
  default: { shared: "../shared", tokens: "0,512", how: "nearest,8bit,float,compensated,fitted" },
});

const MODELS: Readonly<Record<string, string>> = {
  smollm2: "smollm2-135m-instruct-int4",
  minilm: "all-minilm-l6-v2-int8",
};
const TARGETS = { "q,v": ["q", "v"], "all-linear": ["all-linear"] };
const mb = (bytes: number) => Math.round(bytes / 1e5) / 10;
const share = (bytes: number, of: number) => Math.round(1000 * bytes / of) / 1000;

/** Activations steer these alone. */
const STEERED: readonly string[] = ["compensated", "8bit", "fitted"];
const ways = flags.tokens.split(",").map(Number).flatMap((tokens: number) =>
  (flags.how.split(",") as Rewrite["how"][])
    .filter((how) => tokens === 0 || STEERED.includes(how))
    .map((how) => [how, tokens] as const)
);

let worst = 0;
for (const [model, folder] of Object.entries(MODELS)) {
  if (flags.model !== undefined && flags.model !== model) continue;
  for (const [targets, targetModules] of Object.entries(TARGETS)) {
    if (flags.targets !== undefined && flags.targets !== targets) continue;
    for (const [how, tokens] of ways) {
      const { sizeBytes, anonymousBytes, fileBytes, seconds } = await measureRewrite({
        model: `${flags.shared}/models/${folder}`,
        how,
        targetModules,
        tokens,
      });
      const own = share(anonymousBytes, sizeBytes);
      worst = Math.max(worst, own);
      console.log(JSON.stringify({
        model,
        how,
        tokens,
        targets,
        fileMb: mb(sizeBytes),
        ownMb: mb(anonymousBytes),
        own,
        pages: share(fileBytes, sizeBytes),
        seconds: Math.round(10 * seconds) / 10,
      }));
    }
  }
}
console.log(JSON.stringify({ worst }));
if (worst >= 1) Deno.exit(1);
