/** What becomes of texts that a model's own tokenizer makes far too large, or never ends. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import { EXIT } from "../../src/errors.ts";
import { saveRandomAdapter } from "../helpers/adapter_folder.ts";
import { modelDir } from "../helpers/fixture_models.ts";
import { graft } from "../helpers/graft.ts";
import { askOnce } from "../helpers/line_clients.ts";
import { promotedModel } from "../helpers/promoted_model.ts";
import { withService } from "../helpers/running_service.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const BASE = "tiny-llama-genai-int4";
const MODEL = modelDir(BASE);

const replace = (pattern: Record<string, string>, content: string) => ({
  type: "Replace",
  pattern,
  content,
});

/** Makes 400 MB of `%`, in a step in which V8 ends its process, and takes years for {@linkcode SLOW}. */
const HOSTILE = {
  normalizer: {
    type: "Sequence",
    normalizers: [
      replace({ String: "%" }, "#".repeat(40_000)),
      replace({ Regex: "#" }, "y".repeat(10_000)),
    ],
  },
  pre_tokenizer: {
    type: "Split",
    pattern: { Regex: "(a+)+$" },
    behavior: "Isolated",
    invert: false,
  },
};
const SLOW = "a".repeat(60) + "b";

/** A copy of the model, in a service's folder, with the hostile tokenizer; returns its folder. */
function hostileModel(state: string): string {
  const folder = promotedModel(MODEL, state, "0001");
  const path = join(folder, "tokenizer.json");
  const json = JSON.parse(Deno.readTextFileSync(path));
  Deno.writeTextFileSync(path, JSON.stringify({ ...json, ...HOSTILE }));
  return folder;
}

Deno.test("graft train, merge and eval end with the row that a tokenizer makes far too large", () =>
  inTempDir(async (path) => {
    const model = hostileModel(path);
    const data = join(path, "train.jsonl");
    const rows = ["hello", "100%", "there"].map((text) => JSON.stringify({ text }));
    Deno.writeTextFileSync(data, rows.join("\n"));
    const adapter = join(path, "adapter");
    saveRandomAdapter(adapter, BASE, { seed: 1 });
    for (
      const words of [
        ["train", "--model", model, "--data", data, "--adapter-path", join(path, "new")],
        [
          ...["merge", "--model", model, "--data", data, "--adapter-path", adapter],
          ...["--save-path", join(path, "merged")],
        ],
        ["eval", model, "--data", data],
      ]
    ) {
      const { code, stderr } = await graft(...words);
      assertEquals(code, EXIT.badInput, stderr);
      assertMatch(stderr, /train\.jsonl:2: .*text work (did not end within|needs more than)/);
    }
  }));

Deno.test("graft service run answers on after texts that its tokenizer multiplies or never ends", () =>
  inTempDir(async (path) => {
    const [state, socket] = [join(path, "state"), join(path, "socket")];
    hostileModel(state);
    Deno.symlinkSync("models/0001/model", join(state, "current"));
    await withService({ model: MODEL, state, socket }, async () => {
      for (const text of ["100%", SLOW]) {
        const { error } = await askOnce(socket, text);
        assertEquals(error?.status, "refused", text);
        assertMatch(error.message, /text work (did not end within|needs more than)/);
        const answer = await askOnce(socket, "hello");
        assert(answer.model === "0001" && answer.error === undefined, JSON.stringify(answer));
      }
    });
  }));
