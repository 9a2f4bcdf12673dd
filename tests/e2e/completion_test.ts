/** Completion in the shells themselves, where they are installed. */
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { graft } from "../helpers/graft.ts";
import { testWithTool } from "../helpers/requirements.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

async function scriptOf(shell: string, folder: string): Promise<string> {
  const { code, stdout, stderr } = await graft("completion", shell);
  assertEquals(code, 0, stderr);
  const path = join(folder, "graft");
  await Deno.writeTextFile(path, stdout);
  return path;
}

async function shell(name: string, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(name, { args, stdin: "null" }).output();
  const text = new TextDecoder();
  assertEquals(code, 0, text.decode(stderr));
  return text.decode(stdout);
}

testWithTool(
  "bash",
  "bash completes verbs, flags and choices of graft",
  () =>
    inTempDir(async (folder) => {
      const path = await scriptOf("bash", folder);
      // What bash does when the tab key is pressed, less its options.
      const ask = 'source "$1"; compopt() { :; }; shift; COMP_WORDS=("$@"); ' +
        'COMP_CWORD=$(($# - 1)); _graft; echo "${COMPREPLY[*]}"';
      const complete = async (...words: string[]) =>
        (await shell("bash", "-c", ask, "bash", path, "graft", ...words)).trim();
      assertEquals(await complete("tra"), "train");
      assertEquals(await complete("help", "mer"), "merge");
      assertEquals(await complete("train", "--learn"), "--learning-rate");
      assertEquals(await complete("train", "--task", "c"), "causal classification");
      assertEquals(await complete("train", "--task", "=", "ca"), "causal");
      assertEquals(await complete("bench", "dec"), "decode");
      assertEquals(await complete("train", "--rank", ""), "");
      assertEquals(await complete("completion", "z"), "zsh");
    }),
);

testWithTool(
  "fish",
  "fish completes verbs, flags and choices of graft",
  () =>
    inTempDir(async (folder) => {
      const path = await scriptOf("fish", folder);
      const complete = async (line: string) =>
        (await shell("fish", "--no-config", "-c", `source ${path}; complete -C '${line}'`))
          .trim().split("\n").map((found) => found.split("\t")[0]);
      assertEquals(await complete("graft tra"), ["train"]);
      assert((await complete("graft train --learn")).includes("--learning-rate"));
      assertEquals(await complete("graft train --task c"), ["causal", "classification"]);
      assertEquals(await complete("graft bench dec"), ["decode"]);
      assertEquals(await complete("graft completion z"), ["zsh"]);
    }),
);

testWithTool(
  "zsh",
  "zsh reads graft's completion and knows what it is for",
  () =>
    inTempDir(async (folder) => {
      const path = await scriptOf("zsh", folder);
      const script = `autoload -Uz compinit; compinit -u -D; source ${path}; print $_comps[graft]`;
      assertEquals((await shell("zsh", "-f", "-c", script)).trim(), "_graft");
    }),
);

Deno.test("graft completion names the shells it knows", async () => {
  const { code, stderr } = await graft("completion", "tcsh");
  assertEquals(code, 2);
  assertEquals(
    stderr,
    'graft: graft completion needs a shell, one of bash, zsh, fish: current value is "tcsh"\n',
  );
});
