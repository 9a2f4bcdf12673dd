/** What the service does where the model in use is damaged. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { modelDir } from "../helpers/fixture_models.ts";
import { graft, startGraft } from "../helpers/graft.ts";
import { until } from "../helpers/systemd.ts";
import { promotedModel } from "../helpers/promoted_model.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const MODEL = modelDir("tiny-llama-genai-int4");

Deno.test("graft service run answers with the model before one that is damaged", () =>
  inTempDir(async (path) => {
    const [state, socket] = [join(path, "state"), join(path, "socket")];
    promotedModel(MODEL, state, "0001");
    const damaged = join(promotedModel(MODEL, state, "0002"), "model.onnx");
    Deno.truncateSync(damaged, Deno.statSync(damaged).size >> 1);
    Deno.symlinkSync("models/0002/model", join(state, "current"));
    const service = startGraft(
      ...["service", "run", "--model", MODEL, "--state", state, "--socket", socket],
      ...["--n-predict", "4", "--threads", "1"],
    );
    const log = new Response(service.stderr).text();
    const asked = async () => {
      const { code, stdout } = await graft("service", "ask", "--socket", socket, "hello");
      return code === 0 ? JSON.parse(stdout).model : undefined;
    };
    try {
      assertEquals(await until("it answers", asked), "0001");
    } finally {
      service.kill("SIGTERM");
    }
    assertEquals((await service.status).code, 0);
    const said = await log;
    assertStringIncludes(said, "The model in use, 0002, cannot be loaded: ");
    assertStringIncludes(said, "model 0001 answers until it can");
  }));
